"""Several memories side by side on one pass over the videos, and the record of what they keep."""
