"""What a stream keeps of what it watches: tokens of it, or frames to be read afresh."""
