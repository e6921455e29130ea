"""Evaluation of free answers by a judge."""
