"""Settings of the memory inside a policy's text, and what tells two checkpoints apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import open_stream

from hermes.policy_text import check_policy, memory_fields, read_policy, split_options
from inference import AbstractHermes
from inference.saved.weights_digest import SAMPLE_BYTES, weights_digest
from video_qa.lanes.lane_watcher import PLAIN_POLICY, LaneWatcher
from video_qa.lanes.plan import ComparedRun
from video_qa.settings.model_registry import load_engine
from video_qa.settings.run_settings import RunSettings

SPEC = "two_speed:recent_share=0.3:reindex=eager:working_decay=[9,3]:profile=paper"


def test_options_are_parted_into_the_policys_own_and_the_memorys() -> None:
    own, shared = split_options(read_policy(SPEC)[1])
    assert own == {"recent_share": 0.3}
    assert shared == {"reindex": "eager", "working_decay": (9, 3), "profile": "paper"}
    assert {"kv_size", "policy", "policy_options"}.isdisjoint(memory_fields())


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("hermes:reindex=never", "lazy, eager"),
        ("hermes:profile=best", "released, paper"),
        ("hermes:kv_size=4", "kv_size"),
        ("hermes:no_such_field=4", "reindex"),
        ("hermes:smoothing=[1,2]", "tuple of 3"),
        ("two_speed:probe=embedding", "probe='embedding' contradicts the policy 'two_speed'"),
        ("streaming_llm:reindex=lazy", r"reindex='lazy' \(streaming=True\) contradicts"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_known(spec: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_policy(spec)


def test_the_loader_is_given_both_kinds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, object] = {}

    def loader(path: str, **arguments: object) -> tuple[object, None]:
        given.update(arguments)
        return object(), None

    monkeypatch.setattr("video_qa.settings.model_registry._find_loader", lambda name: loader)
    load_engine(RunSettings(str(tmp_path), 8, 1, True, policy=SPEC, profile="released"), "cpu")
    assert given["policy_options"] == {"recent_share": 0.3}
    assert (given["reindex"], given["profile"]) == ("eager", "paper")
    assert given["data_set"] == {"reindex": "lazy"} and "streaming" not in given


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    "policy",
    ["hermes", "hermes:profile=paper:position_limit=64", "streaming_llm", SPEC],
)
def test_a_lane_of_a_comparison_gets_the_configuration_of_a_single_run(
    base: AbstractHermes,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    policy: str,
    streaming: bool,
) -> None:
    def loader(path: str, **arguments: Any) -> tuple[AbstractHermes, None]:
        for name in ("device", "sample_fps", "max_pixels", "dtype", "attn"):
            del arguments[name]
        return open_stream(base, **arguments), None

    monkeypatch.setattr("video_qa.settings.model_registry._find_loader", lambda name: loader)
    settings = RunSettings(str(tmp_path), 8, 1, streaming, policy=policy, chunk_frames=4)
    single = load_engine(settings, "cpu").config
    encoder = load_engine(replace(settings, policy=PLAIN_POLICY, kv_size=99), "cpu")
    run = ComparedRun(settings, Path(), "id")
    watcher = LaneWatcher(encoder, (run,), None, 0)
    (lane,) = watcher._lanes.values()
    assert not watcher.refused
    assert (lane.model.config, lane.model.config.set_by) == (single, single.set_by)


def test_other_weights_have_another_digest(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "config.json").write_text("{}")
    first = weights_digest(str(tmp_path))
    assert first == weights_digest(str(tmp_path))
    (tmp_path / "README.md").write_text("a card says nothing about weights")
    assert first == weights_digest(str(tmp_path))
    weights.write_bytes(bytes(reversed(range(256))) * 1000)
    second = weights_digest(str(tmp_path))
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert len({first, second, weights_digest(str(tmp_path))}) == 3
    assert weights_digest("owner/name") is None


def test_a_file_smaller_than_a_sample_is_read_whole(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"a" * (SAMPLE_BYTES // 2))
    first = weights_digest(str(tmp_path))
    weights.write_bytes(b"a" * (SAMPLE_BYTES // 2 - 1) + b"b")
    assert weights_digest(str(tmp_path)) != first
