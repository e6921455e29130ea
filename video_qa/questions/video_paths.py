"""Where a video of an annotation file lies on this machine."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from video.error import VideoError


def locate_video(annotated_path: str, video_root: Path | None = None) -> Path:
    """The file, array or folder that ``annotated_path`` stands for.

    Annotations carry absolute paths of their authors' machine (``/data/mvbench/videos/x.mp4``).
    With ``video_root`` the longest end of the path that exists below that folder is taken; without
    it the path as it stands, else its longest end below the working directory.

    Raises:
        VideoError: nothing is found; the message says where the search looked.
    """
    as_it_stands = Path(annotated_path)
    if video_root is None and as_it_stands.exists():
        return as_it_stands
    root = Path.cwd() if video_root is None else video_root
    for ending in _endings(annotated_path):
        if (root / ending).exists():
            return root / ending
    tried = f"neither the path nor any end of it exists under {root}"
    raise VideoError(f"no video {annotated_path}: {tried}; set --video_root")


def _endings(annotated_path: str) -> list[PurePosixPath]:
    parts = [part for part in PurePosixPath(annotated_path).parts if part != "/"]
    if ".." in parts:  # an ending must stay below the root
        return []
    return [PurePosixPath(*parts[i:]) for i in range(len(parts))]
