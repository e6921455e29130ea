"""The tokens of an answer: one by one as the reference, in few operators, or as replayed graphs."""
