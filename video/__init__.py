"""Frames with time stamps, from files, folders of images and arrays; knows nothing of questions."""

from video.error import VideoError
from video.reader import open_video

__all__ = ["VideoError", "open_video"]
