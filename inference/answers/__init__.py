"""From a question to the pieces of an answer."""
