"""Benchmarks: annotations and questions, the runner, comparison, NanoStream."""

from hermes.imports import require_ours

require_ours("inference", "video", "eval")
