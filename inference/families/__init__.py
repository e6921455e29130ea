"""Families of checkpoints that the release did not have, a file each."""
