"""The one error that reading a video raises."""


class VideoError(ValueError):
    """A video cannot be read (further): the message names the file, the fault and the remedy."""
