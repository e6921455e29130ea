"""Open answers of a word or two, compared as text: no judge is needed where one word is right."""

import string

import pandas as pd


def normalised(text: str) -> str:
    """Lower case, single spaces, no punctuation at either end: " Top-left." -> "top-left"."""
    return " ".join(text.casefold().split()).strip(string.punctuation + " ")


def same_words(table: pd.DataFrame) -> pd.Series:
    """Boolean per row: prediction and reference are the same words, of which there is one."""
    predicted, reference = (table[name].map(normalised) for name in ("pred_answer", "answer"))
    return (predicted == reference) & (predicted != "")
