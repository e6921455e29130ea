"""Many memories on the same questions: which may be the best, and by how much one is ahead."""
