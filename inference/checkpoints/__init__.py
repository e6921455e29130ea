"""From a checkpoint on disk to an engine."""
