"""What the judge is asked, and the content hash under which its verdict is kept.

Same protocol as the release (which took over the Video-ChatGPT judge): a system message with the
role and three instructions, a user message with question, correct answer and prediction, a
verdict of yes or no with an integer score from 0 to 5, as a dictionary string. The wording is ours.
"""

import hashlib
import json
from typing import Any

TEMPERATURE = 0
MAX_TOKENS = 300

SYSTEM_TEXT = """\
You are an evaluator. You are given a question about a video, its correct answer and an answer \
that a model predicted, and you decide whether the prediction is correct.
INSTRUCTIONS:
- Look for a meaningful match between the predicted answer and the correct answer.
- Synonyms and paraphrases of the correct answer are valid matches.
- Judge the correctness of the prediction against the correct answer, not its style or length."""

USER_TEXT = """\
Evaluate this pair of answers to a question about a video.

Question: {question}
Correct Answer: {answer}
Predicted Answer: {prediction}

Give your verdict as yes or no, and as an integer score from 0 to 5, where 5 stands for the \
closest match in meaning. Reply with a Python dictionary string only, with the keys 'pred' (the \
string 'yes' or 'no') and 'score' (a number, not a string), and no other text or explanation.
For example: {{'pred': 'yes', 'score': 4.8}}"""


def judge_request(model: str, question: str, answer: str, prediction: str) -> dict[str, Any]:
    """Keyword arguments of one chat completion."""
    text = USER_TEXT.format(question=question, answer=answer, prediction=prediction)
    return {
        "model": model,
        "temperature": TEMPERATURE,
        "max_tokens": MAX_TOKENS,
        "messages": [
            {"role": "system", "content": SYSTEM_TEXT},
            {"role": "user", "content": text},
        ],
    }


def content_hash(request: dict[str, Any]) -> str:
    """SHA-256 (hex) of everything that is sent: model, settings, prompt, question, both answers.

    The server is not part of it: the same model name behind another `--base_url` shares verdicts.
    """
    text = json.dumps(request, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
