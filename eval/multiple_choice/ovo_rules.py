"""When a reply to a question of OVO-Bench is right: the benchmark's own rule, and a strict one.

The official rule (its `score.py`, read there, not copied): counting (REC) is right if all digits of
the reply, joined, are the number; steps and clues (SSR, CRR) if the reply holds "Yes" or "No" in
this spelling anywhere, or is "Y" or "N"; options (the other tracks) if the reply holds the right
letter anywhere. It takes "Nothing is known" for No, "1 or 2" for 12 and "B) A map." for A.
The strict rule: the reply is one number, or begins with yes or no and does not say the other;
options by the letter that the runner read.
"""

import re
from collections.abc import Callable

COUNTING = "REC"
YES_NO = {"yes": "yes", "y": "yes", "no": "no", "n": "no"}


def official_right(task: str, reply: str, answer: str) -> bool:
    """The benchmark's own rule for a reply of the forward track."""
    if task == COUNTING:
        return "".join(re.findall(r"\d+", reply)) == answer
    return answer in reply or reply == answer[:1]


def strict_right(task: str, reply: str, answer: str) -> bool:
    """One number, or one of yes and no; other words may follow."""
    if task == COUNTING:
        numbers = re.findall(r"\d+", reply)
        return len(numbers) == 1 and int(numbers[0]) == int(answer)
    words = [YES_NO.get(word) for word in re.findall(r"[a-z]+", reply.lower())]
    said = set(words) - {None}
    return bool(words) and words[0] is not None and said == {answer.lower()}


RULES: dict[str, Callable[[str, str, str], bool]] = {
    "official": official_right,
    "strict": strict_right,
}


def official_letter_right(reply: str, letter: str) -> bool:
    """The official rule for a question with options."""
    return letter in reply
