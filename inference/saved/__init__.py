"""What makes a saved stream go on only where it can: weights, settings, progress."""
