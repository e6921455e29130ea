"""Models of the real size and shape, without a download."""
