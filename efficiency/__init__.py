"""What watching and answering cost: time, memory, operators, and the share of the hardware's limit.

`scripts/bench_efficiency.py` is the command line. Everything is measured side by side with the same
weights driven the way the release drives them, and with a cache that only grows.
"""
