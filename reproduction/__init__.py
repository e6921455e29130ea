"""The paper's tables: published numbers, the runs behind them, and our own numbers beside them."""
