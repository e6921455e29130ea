"""Actors of a Ray cluster; needs the extra `ray`."""

from video_qa.launchers.launcher import LauncherError

try:
    import ray  # noqa: F401 - before any file of this folder asks for it
except ImportError as error:
    raise LauncherError(
        f"--launcher ray needs Ray 2.50 or newer on every node ({error}): pip install '.[ray]'"
    ) from error
