"""An engine without a model: its answers depend on everything a real one's may depend on.

The memory is a digest of the frames, of their times, of where the stream was cut into chunks and
of the last turn of the dialogue at each compression; an answer is a digest of memory and prompt.
A run that replays anything wrongly therefore answers differently.

Marks in a question steer it: ``[raise]`` fails, ``[die]`` kills its process, ``[nap]`` takes a
while. Others do so only once, and leave a file in the folder ``HERMES_FAKE_FOLDER``: ``[stop]``
raises KeyboardInterrupt, ``[kill]`` kills its process, ``[raylet]`` the parent, ``[wait]`` hangs,
``[hold]`` until there is a file ``go``, ``[requeue]`` after telling its parent that time is up.
Every question asked is noted there in ``asked.txt``.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FakeTiming:
    prefill_seconds: float = 0.25
    num_new_tokens: int = 3


class FakeModel:
    def __init__(self, kv_size: int) -> None:
        self.kv_size, self.last_timing = kv_size, None
        self.clear_cache()

    def clear_cache(self) -> None:
        self.digest, self.history, self.compressed = b"", [], True

    def encode_init_prompt(self) -> None:
        assert self.digest == b""
        self._mix("init")

    def encode_video_chunk(self, frames: Any, times_seconds: Any) -> None:
        assert self.compressed, "predict_and_compress must follow every chunk"
        if self.kv_size < 4:
            raise ValueError(f"one frame needs 4 visual tokens but kv_size is {self.kv_size}")
        self._mix(frames.tobytes(), frames.shape, list(times_seconds))
        self.compressed = False

    def predict_and_compress(self) -> None:
        self._mix("compress", self.history[-1:])
        self.compressed = True

    def get_prompt(self, query: str, mc: bool = False) -> str:
        return f"<{query}|{mc}>"

    def question_answering(self, request: dict[str, str], max_new_tokens: int) -> str:
        question = request["question"]
        self._misbehave(question)
        prompt = request["prompt"]
        seen = hashlib.sha256(self.digest + prompt.encode() + str(max_new_tokens).encode())
        body = request.get("formatted_question", "")
        letter = "ABCD"[seen.digest()[0] % 4]
        answer = f"{letter}) {seen.hexdigest()[:8]}" if body else f" it is\n{seen.hexdigest()} "
        self.add_history(question, answer, body)
        self.last_timing = FakeTiming()
        return answer

    def add_history(self, question: str, answer: str, formatted_question: str = "") -> None:
        self.history.append((question, answer, formatted_question))

    def describe(self) -> dict[str, Any]:
        return {"profile": "fake", "kv_size": self.kv_size}

    def _mix(self, *parts: Any) -> None:
        self.digest = hashlib.sha256(self.digest + repr(parts).encode()).digest()

    def _misbehave(self, question: str) -> None:
        folder = Path(os.environ["HERMES_FAKE_FOLDER"])
        with (folder / "asked.txt").open("a") as file:
            file.write(f"{question}\n")
        if "[raise]" in question:
            raise RuntimeError("the engine broke")
        if "[die]" in question:
            os.kill(os.getpid(), signal.SIGKILL)
        if "[nap]" in question:
            time.sleep(1)
        for mark, act in ONCE.items():
            mark_file = folder / f"{mark}.done"
            if f"[{mark}]" in question and not mark_file.exists():
                mark_file.touch()
                act()


def _stop() -> None:
    raise KeyboardInterrupt


def _signal_parent(number: signal.Signals) -> None:
    os.kill(os.getppid(), number)
    time.sleep(120)


def _hold() -> None:
    while not (Path(os.environ["HERMES_FAKE_FOLDER"]) / "go").exists():
        time.sleep(0.1)


ONCE = {
    "stop": _stop,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "wait": lambda: time.sleep(120),
    "raylet": lambda: _signal_parent(signal.SIGKILL),
    "requeue": lambda: _signal_parent(signal.SIGUSR2),
    "hold": lambda: _hold(),
}


def load_model(model_path: str, kv_size: int, **settings: Any) -> tuple[FakeModel, None]:
    return FakeModel(kv_size), None


def load_beside(model_path: str, kv_size: int, **settings: Any) -> tuple[FakeModel, None]:
    """For workers whose environment is not that of the test: the folder is the model's."""
    os.environ["HERMES_FAKE_FOLDER"] = str(Path(model_path).resolve().parent)
    return load_model(model_path, kv_size, **settings)
