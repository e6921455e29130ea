"""Worker processes of this machine; the launcher that needs no extra."""

from __future__ import annotations

import os
from collections.abc import Sequence

from video_qa.launchers.launcher import Work
from video_qa.runner import devices as device_choice
from video_qa.runner.worker_pool import run_workers


class LocalLauncher:
    """Videos are dealt out beforehand, one process per share."""

    name = "local"
    is_elsewhere = False

    def devices(
        self, requested: str | None, gpus_per_worker: int
    ) -> Sequence[device_choice.WorkerDevice]:
        if requested == "cpu":
            return [device_choice.CPU]
        import torch  # only to count GPUs, which starts nothing on them

        visible = device_choice.visible_gpus(os.environ, torch.cuda.device_count())
        return device_choice.worker_devices(requested, visible, gpus_per_worker)

    def num_workers(self, requested: int | None) -> int:
        return requested or 1

    def is_at_work(self) -> bool:
        return False  # workers end with their runner

    def run(self, work: Work) -> list[str]:
        return run_workers(work.tasks, work.num_questions, work.num_answered, work.lock_descriptor)
