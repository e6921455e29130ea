"""Errors of this package that a caller can act on."""


class ModelLoadError(ValueError):
    """A checkpoint cannot be loaded; the message says what was given and what to do."""


class FrameError(ValueError):
    """Frames have the wrong type or shape, or do not fit the budget."""
