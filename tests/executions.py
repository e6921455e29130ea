"""Streams by one execution, for the tests of executions."""

from tiny import open_stream, random_frames
from tiny import watch as watch_frames

KV_SIZE = {"llava": 24, "qwen": 24, "qwen3": 92}


def open_and_watch(base, execution, policy="hermes", **settings):
    stream = open_by(base, base.model, execution, policy=policy, **settings)
    watch_frames(stream, random_frames(20))
    return stream


def open_by(base, model, execution, **settings):
    config = open_stream(base, kv_size=KV_SIZE[base.family], **settings).config
    return type(base)(model, base.processor, config, sample_fps=1, execution=execution)
