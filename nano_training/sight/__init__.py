"""What the miniature sees: contents of quadrants, coded charts of them, eyes, a bank of tokens."""
