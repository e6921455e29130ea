"""From a command line to answered questions: shards, devices, worker processes."""
