"""What is new in a stream: frames after which it changed, tokens that repeat nothing older."""
