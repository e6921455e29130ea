"""The clean-up of spaces in decoded text, and how much of unfinished text it can still change.

The release decoded with `clean_up_tokenization_spaces=True`. transformers 5 ignores that for the
tokenizers of both families, so the rule stands here.
"""

from __future__ import annotations

_RULE = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
"""One after the other; each loses its spaces wherever it stands."""
_LONGEST = max(map(len, _RULE))


def clean_up(text: str) -> str:
    """Without the spaces in front of punctuation and English contractions, as released."""
    for spaced in _RULE:
        text = text.replace(spaced, spaced.strip())
    return text


def settled(text: str) -> str:
    """The cleaned-up beginning of decoded but not yet cleaned text that no later token can change.

    Half a character is not shown. Every rule begins with a space, so what follows the last space
    is final once it is as long as the longest rule; else all is that stands before that space,
    unless the character before is a space itself or a lone apostrophe, which may still join.
    """
    whole = text.rstrip("\ufffd")
    cut = whole.rfind(" ")
    if cut < 0 or len(whole) - cut >= _LONGEST:
        return clean_up(whole)
    while cut > 0:
        if whole[cut - 1] == " ":
            cut -= 1
        elif whole[max(0, cut - 2) : cut] == " '":
            cut -= 2
        else:
            break
    return clean_up(whole[:cut])
