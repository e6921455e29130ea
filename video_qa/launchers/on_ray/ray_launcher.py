"""A Ray cluster: one actor per GPU, videos handed out one by one, answers stored by the runner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import ray

from video_qa.launchers.answer_store import AnswerStore
from video_qa.launchers.desk import Desk
from video_qa.launchers.launcher import LauncherError, Work
from video_qa.launchers.node_facts import node_facts, unequal_facts
from video_qa.launchers.on_ray import cluster
from video_qa.launchers.on_ray.hand_out import HandOut
from video_qa.launchers.on_ray.ray_worker import RayVideoWorker
from video_qa.runner.devices import CPU, DeviceError, WorkerDevice
from video_qa.runner.worker_pool import question_bar

LOOK_SECONDS = 60.0


class RayLauncher:
    """Connected to a cluster as long as it is in use."""

    name = "ray"
    is_elsewhere = True

    def __init__(self, cpus_per_worker: int) -> None:
        self._num_cpus, self._num_gpus = cpus_per_worker, 0
        self._num_workers = 0

    def devices(self, requested: str | None, gpus_per_worker: int) -> Sequence[WorkerDevice]:
        if requested not in (None, "cpu", "cuda"):
            raise DeviceError(
                f"--devices {requested}: with --launcher ray it is cpu or cuda; the cluster deals "
                "out the GPUs"
            )
        has_gpus = any(node.num_gpus for node in cluster.nodes())
        if requested == "cpu" or (requested is None and not has_gpus):
            return [CPU]
        self._num_gpus = gpus_per_worker
        return [WorkerDevice("cuda", "")]

    def num_workers(self, requested: int | None) -> int:
        room = {node: self._room(node) for node in cluster.nodes()}
        most = sum(room.values())
        if most < (requested or 1):
            what = "GPU" if self._num_gpus else "CPU"
            gpus = f"{self._num_gpus} GPU(s) and " if self._num_gpus else ""
            raise LauncherError(
                f"{requested or 1} worker(s) of {gpus}{self._num_cpus} CPU(s) were asked for, but "
                f"the cluster has room for {most} ({cluster.shown_room(room, what)}); lower "
                "--num_chunks or --cpus_per_worker, or add nodes"
            )
        self._num_workers = requested or most
        return self._num_workers

    def is_at_work(self) -> bool:
        return False  # actors end with their runner, and write nothing

    def run(self, work: Work) -> list[str]:
        self._check_nodes(work.recipe.model)
        with (
            AnswerStore(work) as store,
            question_bar(work.num_questions, work.num_answered) as bar,
            self._actors(work) as actors,
        ):
            expected = node_facts(work.recipe.model)
            return HandOut(actors, Desk(work.units), store, bar, expected).finish()

    def _room(self, node: cluster.Node) -> int:
        return node.room(self._num_gpus, self._num_cpus)

    def _check_nodes(self, model: str) -> None:
        """Refuse a cluster whose machines would not answer alike, before one of them does.

        Raises:
            LauncherError: names each node and what is different there.
        """
        expected = node_facts(model)
        used = [node for node in cluster.nodes() if self._room(node)]
        look = ray.remote(num_cpus=0, max_retries=0)(node_facts)
        pinned = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        calls = {
            look.options(scheduling_strategy=pinned(node.node_id, soft=False)).remote(model): node
            for node in used
        }
        ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=LOOK_SECONDS)
        problems = []
        for call, node in calls.items():
            try:
                if call not in ready:
                    raise LauncherError(f"no reply within {LOOK_SECONDS:.0f} seconds")
                unequal = unequal_facts(expected, ray.get(call))
            except (ray.exceptions.RayError, LauncherError) as error:
                unequal = [str(error).strip().splitlines()[-1]]
            problems += [f"node {node.name}: {line}" for line in unequal]
        if problems:
            lines = "\n  ".join(problems)
            raise LauncherError(
                f"the nodes of the cluster are not alike:\n  {lines}\ninstall the same everywhere"
            )

    @contextmanager
    def _actors(self, work: Work) -> Iterator[list[ray.actor.ActorHandle]]:
        """However this is left, no worker outlives it."""
        size = {"num_cpus": self._num_cpus, "num_gpus": self._num_gpus}
        # Ray restarts a worker that died wherever there is room; it never repeats a call on its
        # own, because who holds the answers decides what is asked again.
        made = ray.remote(max_restarts=-1, max_task_retries=0, **size)(RayVideoWorker)
        number = min(self._num_workers, len(work.units))
        actors = [made.remote(work.recipe, Path.cwd()) for _ in range(number)]
        try:
            yield actors
        finally:
            for actor in actors:
                ray.kill(actor)


@contextmanager
def open_ray(address: str, cpus_per_worker: int) -> Iterator[RayLauncher]:
    """Connect, and leave the cluster at the end. Raises LauncherError."""
    with cluster.connected(address):
        yield RayLauncher(cpus_per_worker)
