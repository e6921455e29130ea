"""Reading the judge's replies, and the cache of verdicts."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eval.open_ended.judge_prompt import content_hash, judge_request
from eval.open_ended.verdicts import UnusableReply, Verdict, VerdictCache, parse_reply


@pytest.mark.parametrize(
    ("reply", "pred", "score"),
    [
        ("{'pred': 'yes', 'score': 4}", "yes", 4),
        ('{"pred": "no", "score": 0}', "no", 0),
        ("{'pred': 'yes', 'score': 4.8}", "yes", 4.8),
        ("```python\n{'pred': 'Yes.', 'score': '5'}\n```", "yes", 5),
        ('Sure! Here it is:\n```json\n{"pred": "NO", "score": 1,}\n``` Bye', "no", 1),
        ("{'prev': 'yes', 'score': 3}", "yes", 3),
        ('{"Pred": true, "Score": 2}', "yes", 2),
        ('{"verdict": {"pred": "no", "score": 2}}', "no", 2),
        ("{'pred': 'no', 'score': 1, 'why': 'says {} and {x}'}", "no", 1),
        ("{'pred': 'yes', 'score': 4} i.e. {'pred': 'yes', 'score': 4.0}", "yes", 4),
    ],
)
def test_readable_replies(reply: str, pred: str, score: float) -> None:
    assert parse_reply(reply) == Verdict(pred, score)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "yes, 4",
        "{}",
        "{'pred': 'yes'}",
        "{'score': 4}",
        "{'pred': 'maybe', 'score': 4}",
        "{'pred': 'yes or no', 'score': 4}",
        "{'pred': 'not sure', 'score': 4}",
        "{'pred': 'not yes', 'score': 4}",
        "{'pred': 'I cannot say yes', 'score': 4}",
        "{'pred': 'yes', 'score': 6}",
        "{'pred': 'yes', 'score': -1}",
        "{'pred': 'yes', 'score': true}",
        "{'pred': 'yes', 'score': True}",
        '{"pred": "yes", "score": NaN}',
        '{"pred": "yes", "score": 1e999}',
        "{'pred': 'yes', 'score': '4/5'}",
        "{'pred': 'yes', 'score': 4",
        "{'pred': 'yes', 'score': 5} or {'pred': 'no', 'score': 0}",
        "{'pred': __import__('os').getcwd(), 'score': 4}",
        "{" * 5000,
    ],
)
def test_rubbish_is_refused(reply: str) -> None:
    with pytest.raises(UnusableReply):
        parse_reply(reply)


@given(st.text())
@example("{'pred': 'yes', 'score': " + "9" * 5000 + "}")
@example("{" + "-" * 9000 + "1: 1}")
def test_any_text_is_a_verdict_or_unusable(reply: str) -> None:
    try:
        verdict = parse_reply(reply)
    except UnusableReply:
        return
    assert verdict.pred in ("yes", "no")


@given(
    st.sampled_from(["yes", "no"]),
    st.integers(0, 5) | st.floats(0, 5),
    st.text(alphabet=st.characters(exclude_characters="{}"), max_size=50),
    st.sampled_from([repr, json.dumps]),
)
def test_a_verdict_amid_any_text_is_found(pred: str, score: float, text: str, write) -> None:
    reply = text + write({"pred": pred, "score": score}) + text
    assert parse_reply(reply) == Verdict(pred, score)


def test_cache_returns_what_was_put(tmp_path: Path) -> None:
    cache = VerdictCache(tmp_path / "verdicts")
    assert cache.get("k") is None
    cache.put("k", Verdict("yes", 4.8), "judge")
    assert cache.known(["k", "other"]) == {"k": Verdict("yes", 4.8)}
    assert [path.name for path in (tmp_path / "verdicts").iterdir()] == ["k.json"]


@pytest.mark.parametrize("content", ["", "[]", '{"pred": "yes"', '{"pred": "yes", "score": 9}'])
def test_a_damaged_cache_file_is_judged_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "k.json").write_text(content)
    assert VerdictCache(tmp_path).get("k") is None


def test_the_hash_depends_on_everything_that_is_judged() -> None:
    variants = [
        ("m", "q", "a", "p"),
        ("m2", "q", "a", "p"),
        ("m", "q2", "a", "p"),
        ("m", "q", "a2", "p"),
        ("m", "q", "a", "p2"),
    ]
    hashes = {content_hash(judge_request(*variant)) for variant in variants}
    assert len(hashes) == len(variants)
    assert content_hash(judge_request(*variants[0])) in hashes  # the same content, the same hash


def test_the_request_has_the_released_settings() -> None:
    request = judge_request("m", "Where is {it}?", "here", "'there'")
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("m", 0, 300)
    assert [message["role"] for message in request["messages"]] == ["system", "user"]
    user_text = request["messages"][1]["content"]
    for part in (
        "Where is {it}?",
        "Correct Answer: here",
        "'there'",
        "{'pred': 'yes', 'score': 4.8}",
    ):
        assert part in user_text
