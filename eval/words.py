"""Open answers of a word or two, compared as text: no judge is needed where one word is right."""

import string


def normalised(text: str) -> str:
    """Lower case, single spaces, no punctuation at either end: " Top-left." -> "top-left"."""
    return " ".join(text.casefold().split()).strip(string.punctuation + " ")
