"""Telling whether decoding can start at a packet as if nothing had come before."""

from collections.abc import Callable
from typing import Any

# network abstraction layer (NAL) unit types of pictures that empty the decoder's references
H264_INSTANT_REFRESH = {5}
HEVC_INSTANT_REFRESH = {19, 20}


def restart_test(codec_context: Any) -> Callable[[Any], bool] | None:
    """A test of av packets for this codec, or None where none is certain.

    Key frames of H.264 and HEVC may be entry points of open groups, so their unit types are
    looked at; a key frame of VP8, VP9, AV1 and Motion JPEG always replaces all references.
    """
    make = RESTART_TESTS.get(codec_context.name)
    return None if make is None else make(codec_context.extradata or b"")


def _h264(extradata: bytes) -> Callable[[Any], bool]:
    size = (extradata[4] & 3) + 1 if len(extradata) > 4 and extradata[0] == 1 else None
    return lambda packet: (
        packet.is_keyframe
        and any(header & 31 in H264_INSTANT_REFRESH for header in unit_headers(bytes(packet), size))
    )


def _hevc(extradata: bytes) -> Callable[[Any], bool]:
    size = (extradata[21] & 3) + 1 if len(extradata) > 21 and extradata[0] == 1 else None
    return lambda packet: (
        packet.is_keyframe
        and any(
            header >> 1 & 63 in HEVC_INSTANT_REFRESH for header in unit_headers(bytes(packet), size)
        )
    )


def _key_frame(extradata: bytes) -> Callable[[Any], bool]:
    return lambda packet: packet.is_keyframe


RESTART_TESTS: dict[str, Callable[[bytes], Callable[[Any], bool]]] = {
    "h264": _h264,
    "hevc": _hevc,
    "vp8": _key_frame,
    "vp9": _key_frame,
    "libdav1d": _key_frame,
    "mjpeg": _key_frame,
}


def unit_headers(data: bytes, length_size: int | None) -> list[int]:
    """First byte of each NAL unit: length-prefixed (mp4, mkv) or after start codes (size None)."""
    if length_size is None:
        return [part[0] for part in data.split(b"\x00\x00\x01")[1:] if part]
    headers, position = [], 0
    while position + length_size < len(data):
        length = int.from_bytes(data[position : position + length_size], "big")
        headers.append(data[position + length_size])
        position += length_size + length
    return headers
