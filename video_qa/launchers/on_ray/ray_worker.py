"""The worker of a Ray cluster: it knows on which node it is."""

from __future__ import annotations

from pathlib import Path

from video_qa.launchers.on_ray.cluster import here
from video_qa.launchers.recipe import Recipe
from video_qa.launchers.video_worker import VideoWorker


class RayVideoWorker(VideoWorker):
    """Made again, perhaps elsewhere, when its process or its node dies."""

    def __init__(self, recipe: Recipe, directory: Path) -> None:
        super().__init__(recipe, here(), directory)
