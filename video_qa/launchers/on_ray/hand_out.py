"""The runner's loop over actors: who is free gets the next video, who died gets it taken away."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError
from tqdm import tqdm

from video_qa.launchers.answer_store import AnswerStore
from video_qa.launchers.desk import Desk
from video_qa.launchers.launcher import LauncherError, Unit
from video_qa.launchers.node_facts import Facts, unequal_facts
from video_qa.launchers.video_worker import Ready, Watched

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
AGAIN_SECONDS = 0.5
"""Before a worker that was just made anew is asked again whether it is there."""
PATIENCE_SECONDS = 60.0
MAX_LOAD_DEATHS = 3


@dataclass
class _Worker:
    """An actor as the runner sees it."""

    number: int
    actor: Any
    node: str = "(not placed yet)"
    unit: Unit | None = None
    has_answered: bool = False
    load_deaths: int = 0
    ask_again_at: float = 0.0


class HandOut:
    """One call is under way per worker; every reply is stored before the next question."""

    def __init__(
        self,
        actors: Sequence[Any],
        desk: Desk,
        store: AnswerStore,
        bar: tqdm[Any],
        expected: Facts,
    ) -> None:
        self._desk, self._store, self._bar, self._expected = desk, store, bar, expected
        self._calls: dict[Any, tuple[_Worker, Callable[[_Worker, Any], None]]] = {}
        self._idle: list[_Worker] = []
        self._resting: list[_Worker] = []
        self._complaints: list[str] = []
        self._heard = time.monotonic()
        for number, actor in enumerate(actors):
            self._call_on(_Worker(number, actor))

    def finish(self) -> list[str]:
        """Until every video is done or given up, or no worker is left; returns complaints."""
        while self._desk.is_open and (self._calls or self._idle or self._resting):
            self._wake()
            for call in self._ready():
                worker, then = self._calls.pop(call)
                try:
                    reply = ray.get(call)
                except RayTaskError as error:
                    self._failed(worker, error)
                except RayError as error:
                    self._died(worker, error, was_loading=then == self._loaded)
                else:
                    self._heard = time.monotonic()
                    then(worker, reply)
            if sys.stderr.isatty():
                self._bar.refresh()  # the clock runs on between answers
        self._complaints += [
            f"video {unit.video.video_id} was given up: its workers died, one after the other"
            for unit in self._desk.given_up
        ]
        if self._desk.num_waiting:
            self._complaints.append(f"no worker is left for {self._desk.num_waiting} video(s)")
        return self._complaints

    def _ready(self) -> list[Any]:
        if not self._calls:
            time.sleep(POLL_SECONDS)
            return []
        ready, _ = ray.wait(list(self._calls), num_returns=1, timeout=POLL_SECONDS)
        if not ready and time.monotonic() - self._heard > PATIENCE_SECONDS:
            self._heard = time.monotonic()
            unplaced = sum(worker.unit is None for worker, _ in self._calls.values())
            if unplaced:
                tqdm.write(f"{unplaced} worker(s) wait for room in the cluster or load the model")
        return ready

    def _call_on(self, worker: _Worker) -> None:
        """The first call to a new worker: where it is, and whether it is like all others."""
        self._calls[worker.actor.look.remote()] = worker, self._looked

    def _looked(self, worker: _Worker, found: tuple[str, Facts]) -> None:
        worker.node, facts = found
        if unequal := unequal_facts(self._expected, facts):  # a node that joined later
            raise LauncherError(f"node {worker.node} is not like the others: {'; '.join(unequal)}")
        self._calls[worker.actor.load.remote()] = worker, self._loaded

    def _loaded(self, worker: _Worker, ready: Ready) -> None:
        worker.load_deaths = 0
        self._store.describe(ready.descriptions)
        self._store.refuse(ready.refused)
        self._next_video(worker)

    def _next_video(self, worker: _Worker) -> None:
        worker.unit, worker.has_answered = self._desk.take(), False
        if worker.unit is None:
            self._idle.append(worker)
            return
        call = worker.actor.watch.remote(worker.unit, self._store.stored(worker.unit))
        self._calls[call] = worker, self._replied

    def _replied(self, worker: _Worker, reply: Any) -> None:
        assert worker.unit is not None
        if isinstance(reply, Watched):
            self._store.describe(reply.descriptions)
            self._desk.done(worker.unit)
            self._next_video(worker)
            return
        self._bar.update(self._store.take(reply))
        worker.has_answered = True
        self._calls[worker.actor.go_on.remote()] = worker, self._replied

    def _died(self, worker: _Worker, error: RayError, was_loading: bool) -> None:
        """Ray makes it anew; its video goes to whoever is free first."""
        what = str(error).strip().splitlines()[0]
        # Of one that Ray makes anew it says that it is unavailable.
        is_final = isinstance(error, ActorDiedError) and worker.unit is None and not was_loading
        if worker.unit is not None:
            fate = "is handed out again" if self._take_back(worker) else "is given up"
            tqdm.write(
                f"worker {worker.number} on node {worker.node} died, its video {fate}: {what}"
            )
        worker.load_deaths += was_loading
        if is_final or worker.load_deaths >= MAX_LOAD_DEATHS:
            self._complain(worker, what if is_final else f"it died loading the model: {what}")
        else:
            worker.ask_again_at = time.monotonic() + AGAIN_SECONDS
            self._resting.append(worker)

    def _failed(self, worker: _Worker, error: RayTaskError) -> None:
        """The worker lives, but what it was asked to do raised: it cannot load the model, say."""
        if worker.unit is not None:
            self._take_back(worker)
        self._complain(worker, f"error: {error.cause}")

    def _take_back(self, worker: _Worker) -> bool:
        """Put its video back, for somebody idle at once; returns whether it is handed out again."""
        assert worker.unit is not None
        again = self._desk.lost(worker.unit, worker.has_answered)
        worker.unit = None
        if again and self._idle:
            self._next_video(self._idle.pop())
        return again

    def _complain(self, worker: _Worker, what: str) -> None:
        complaint = f"worker {worker.number} on node {worker.node} ended: {what}"
        self._complaints.append(complaint)
        tqdm.write(complaint)

    def _wake(self) -> None:
        now = time.monotonic()
        awake = [worker for worker in self._resting if worker.ask_again_at <= now]
        self._resting = [worker for worker in self._resting if worker not in awake]
        for worker in awake:
            self._call_on(worker)
