"""Time reading the sampled frames of a long video: this project's reader against decord.

    python scripts/bench_decode.py --minutes 60 --sample_fps 0.5 --repeats 5
    python scripts/bench_decode.py --video talk.mp4 --json decode.json
    python scripts/bench_decode.py --minutes 3 --repeats 3 --readers pyav --workers 1 2

Without --video, twenty seconds of 720p H.264 at 30 frames per second are encoded (textures that
pan, noise, cuts; x264 "medium", groups of at most 250 pictures with B frames) and repeated without
re-encoding. Every reader delivers the same frames as uint8 RGB at native size, one at a time, and
keeps none; the first frames of all readers are compared. Prints one markdown row per reader.
"""

import argparse
import json
import os
import platform
import resource
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from video import open_video
from video.frame_request import FrameRequest
from video.frame_sources import open_source

WIDTH, HEIGHT, FPS = 1280, 720, 30
SCENE_SECONDS = 20
Reader = Callable[[Path, float], Iterator[np.ndarray]]


def read_here(
    path: Path, sample_fps: float, decode_workers: int | None = None
) -> Iterator[np.ndarray]:
    """The reader of this project, background thread and chunks of 16 included."""
    with open_video(path, sample_fps, decode_workers=decode_workers) as video:
        for chunk in video.take():
            yield from chunk.frames


def read_decord(path: Path, sample_fps: float) -> Iterator[np.ndarray]:
    """The same frames from decord with its own choice of threads, one by one."""
    source = open_source(FrameRequest(path, sample_fps), backend="decord")
    return source.frames()


def read_decord_as_released(path: Path, sample_fps: float) -> Iterator[np.ndarray]:
    """As the authors: one thread, all frames at once (same indices where the rate is whole)."""
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    step = round(reader.get_avg_fps() / sample_fps)
    yield from reader.get_batch(list(range(0, len(reader), step))).asnumpy()


READERS: dict[str, Reader] = {
    "pyav": read_here,
    "decord": read_decord,
    "decord-released": read_decord_as_released,
}


def readers(names: list[str], workers: list[int]) -> dict[str, Reader]:
    """Those of these names; that of this project once for every number of workers."""
    chosen = {name: READERS[name] for name in names}
    if workers and chosen.pop("pyav", None):
        own = {f"pyav-{n}": partial(read_here, decode_workers=n) for n in workers}
        chosen = own | chosen
    return chosen


def picture(number: int, backdrop: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Frame `number` of the scene, uint8 (HEIGHT, WIDTH, 3): a cut every seven seconds."""
    scene = number // (7 * FPS)
    x = int(400 + 380 * np.sin(number / 90 + scene))
    y = int(300 + 290 * np.cos(number / 130 + scene))
    window = backdrop[scene % len(backdrop), y : y + HEIGHT, x : x + WIDTH]
    return np.clip(window + noise[number % len(noise)], 0, 255).astype(np.uint8)


def encode_scene(path: Path) -> None:
    """A piece of H.264 that moves, cuts and has some grain; the same on every machine."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (3, 60, 100, 3), dtype=np.uint8)
    backdrop = np.kron(small, np.ones((1, 24, 24, 1), np.uint8)).astype(np.int16)
    noise = rng.integers(-8, 9, (7, HEIGHT, WIDTH, 1), dtype=np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "medium", "crf": "23"}
        for number in tqdm(range(SCENE_SECONDS * FPS), desc="encoding", unit="frame"):
            frame = av.VideoFrame.from_ndarray(picture(number, backdrop, noise), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def repeat(scene: Path, path: Path, times: int) -> None:
    """The scene's packets `times` times over in one file."""
    with av.open(str(path), "w") as target:
        stream = None
        for turn in range(times):
            with av.open(str(scene)) as source:
                origin = source.streams.video[0]
                stream = stream or target.add_stream_from_template(origin)
                shift = turn * origin.duration
                for packet in source.demux(origin):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                    target.mux(packet)


def time_reader(reader: Reader, path: Path, sample_fps: float) -> tuple[float, int, np.ndarray]:
    """(seconds, frames read, sums of the first frames' pixels)."""
    start = time.perf_counter()
    sums, num_frames = [], 0
    for frame in reader(path, sample_fps):
        if num_frames < 20:
            sums.append(int(frame.sum()))
        num_frames += 1
    return time.perf_counter() - start, num_frames, np.array(sums)


def measure(path: Path, chosen: dict[str, Reader], sample_fps: float, repeats: int) -> list[dict]:
    """Readers in turn, `repeats` rounds, so that a slow spell of the machine hits all of them."""
    names = list(chosen)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in names}
    seen = {}
    for _ in tqdm(range(repeats), desc="rounds", unit="round"):
        for name in names:
            before = time.process_time()
            taken, num_frames, sums = time_reader(chosen[name], path, sample_fps)
            seconds[name].append(taken)
            cpu_seconds[name].append(time.process_time() - before)
            seen[name] = (num_frames, sums.tolist())
    reference = seen[names[0]]
    return [
        {
            "reader": name,
            "frames": seen[name][0],
            "p50_seconds": round(float(np.percentile(seconds[name], 50)), 3),
            "p95_seconds": round(float(np.percentile(seconds[name], 95)), 3),
            "p50_cpu_seconds": round(float(np.percentile(cpu_seconds[name], 50)), 3),
            "all_seconds": [round(value, 3) for value in seconds[name]],
            "same_frames": seen[name] == reference,
        }
        for name in names
    ]


def describe(path: Path, sample_fps: float, repeats: int) -> dict:
    """What was measured, on what."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        video = {
            "codec": stream.codec_context.name,
            "size": f"{stream.width}x{stream.height}",
            "fps": float(stream.average_rate),
            "seconds": container.duration / av.time_base,
            "bit_rate": container.bit_rate,
        }
    return {
        "video": video,
        "sample_fps": sample_fps,
        "repeats": repeats,
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "av": av.__version__,
    }


def print_rows(result: dict) -> None:
    """The figures as a markdown table."""
    video = result["video"]
    print(
        f"{video['seconds']:.0f} s of {video['codec']} {video['size']} at {video['fps']:g} fps, "
        f"{video['bit_rate'] // 1000} kbit/s, sampled at {result['sample_fps']:g} fps, "
        f"{result['cores']} cores, {result['repeats']} rounds\n"
    )
    print(
        "| reader | frames | p50 s | p95 s | p50 CPU s | same frames |\n|---|---|---|---|---|---|"
    )
    for row in result["readers"]:
        print(
            f"| {row['reader']} | {row['frames']} | {row['p50_seconds']} | {row['p95_seconds']} "
            f"| {row['p50_cpu_seconds']} | {'yes' if row['same_frames'] else 'NO'} |"
        )
    print(f"\npeak resident memory of this process: {result['peak_rss_mb']} MB")


def main(argv: list[str] | None = None) -> int:
    """Make or take a video, time the readers, print markdown and, if asked, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--video", type=Path, help="video to read (default: make one)")
    parser.add_argument("--minutes", type=int, default=60, help="length of the made video")
    parser.add_argument("--sample_fps", type=float, default=0.5, help="frames per second to read")
    parser.add_argument("--repeats", type=int, default=5, help="rounds over all readers")
    parser.add_argument(
        "--readers", nargs="+", choices=READERS, default=list(READERS), help="which to time"
    )
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[], help="numbers of decode workers for pyav"
    )
    parser.add_argument("--json", type=Path, help="file for all figures")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        path = args.video or Path(folder) / "long.mp4"
        if args.video is None:
            encode_scene(Path(folder) / "scene.mp4")
            repeat(Path(folder) / "scene.mp4", path, args.minutes * 60 // SCENE_SECONDS)
        result = describe(path, args.sample_fps, args.repeats)
        chosen = readers(args.readers, args.workers)
        result["readers"] = measure(path, chosen, args.sample_fps, args.repeats)
    result["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print_rows(result)
    if args.json:
        words = shlex.join(argv or sys.argv[1:])
        record = {"command": f"python scripts/bench_decode.py {words}", **result}
        args.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
