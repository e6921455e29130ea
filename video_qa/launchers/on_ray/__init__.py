"""Actors of a Ray cluster; needs the extra `ray`, except for what others import lazily."""
