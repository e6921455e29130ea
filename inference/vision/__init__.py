"""From frames to the visual tokens of a chunk."""
