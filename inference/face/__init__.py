"""What people call: open a stream, let it watch, ask it."""
