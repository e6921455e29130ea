"""Every memory on every degree of NanoStream: streams, runs, costs, verdicts, and the page."""
