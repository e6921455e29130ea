"""Results and models across projects: the authors' code and its forks, and lmms-eval."""
