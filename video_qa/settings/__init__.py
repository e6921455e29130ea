"""What decides the answers of a run: its settings, its model, its policy, its fingerprint."""
