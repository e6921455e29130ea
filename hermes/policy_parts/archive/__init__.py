"""What policies need that bring frames back from host memory."""
