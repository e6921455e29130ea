"""Memory policies by name. A new policy is one file here and one line below."""

from __future__ import annotations

from hermes.config import MemoryConfig
from hermes.layout import MemoryLayout
from hermes.policies.blank_frames import BlankFrames
from hermes.policies.confirmed_novelty import ConfirmedNovelty
from hermes.policies.dscache import DSCache
from hermes.policies.hermes import Hermes
from hermes.policies.infinipot_v import InfinipotV
from hermes.policies.keyrec import KeyRec
from hermes.policies.last_frames import LastFrames
from hermes.policies.live_vlm import LiveVlm
from hermes.policies.none import KeepAll
from hermes.policies.random import Random
from hermes.policies.recent import Recent
from hermes.policies.rekv import ReKV
from hermes.policies.shallow_stream import ShallowStream
from hermes.policies.stratified import Stratified
from hermes.policies.stream_mem import StreamMem
from hermes.policies.streaming_llm import StreamingLlm
from hermes.policies.two_speed import TwoSpeed
from hermes.policies.two_speed_recall import TwoSpeedRecall
from hermes.policies.uniform import Uniform
from hermes.policies.uniform_frames import UniformFrames
from hermes.policies.uniform_recent import UniformRecent
from hermes.policy_parts.base import Observer, Policy, Recall
from hermes.policy_parts.guidance import Guidance
from hermes.precedence import layers_of, resolve

POLICIES: dict[str, type[Policy]] = {
    "blank_frames": BlankFrames,
    "confirmed_novelty": ConfirmedNovelty,
    "dscache": DSCache,
    "hermes": Hermes,
    "infinipot_v": InfinipotV,
    "keyrec": KeyRec,
    "last_frames": LastFrames,
    "live_vlm": LiveVlm,
    "none": KeepAll,
    "random": Random,
    "recent": Recent,
    "rekv": ReKV,
    "shallow_stream": ShallowStream,
    "stratified": Stratified,
    "stream_mem": StreamMem,
    "streaming_llm": StreamingLlm,
    "two_speed": TwoSpeed,
    "two_speed_recall": TwoSpeedRecall,
    "uniform": Uniform,
    "uniform_frames": UniformFrames,
    "uniform_recent": UniformRecent,
}

FORMER = {"hermes_exact": ", which is hermes:profile=paper now"}
"""Names that are gone, and what to say."""


def policy_kind(name: str) -> type[Policy]:
    """The class of a policy. Raises ValueError, with the known names, for an unknown one."""
    if name not in POLICIES:
        known = f"known: {', '.join(sorted(POLICIES))}"
        raise ValueError(f"unknown policy {name!r}{FORMER.get(name, '')}; {known}")
    return POLICIES[name]


def make_policy(config: MemoryConfig, num_layers: int) -> Policy:
    """The policy that `config` names, for a model of `num_layers` layers.

    Its `config` has the fields that define the policy, whether `config` had them or not.

    Raises:
        ValueError: unknown name or option (the message lists the known ones), an option outside
            its range, budget_weights the policy cannot serve, or a field that contradicts what
            defines it.
    """
    kind = policy_kind(config.policy)
    config = resolve(layers_of(config) | {"policy": kind.defines})
    if len(set(config.budget_weights)) > 1 and not kind.takes_budget_weights:
        able = ", ".join(name for name, one in POLICIES.items() if one.takes_budget_weights)
        raise ValueError(
            f"the policy {config.policy!r} holds equally many tokens in every layer; "
            f"budget_weights go with {able}"
        )
    policy = kind(config, MemoryLayout.from_config(num_layers, config))
    policy.reset()
    return policy


__all__ = ["POLICIES", "Guidance", "Observer", "Policy", "Recall", "make_policy", "policy_kind"]
