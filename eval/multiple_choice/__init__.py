"""Evaluators of answers that are right or wrong."""
