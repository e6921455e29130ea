"""A stream in a file."""
