"""Decoding several pieces of one video at a time, in order, bit for bit as one by one.

One thread reads packets and plans which of them are needed, as ever. The plan is cut into pieces
where decoding restarts, and every piece goes to an idle decoder, which has the file open for
itself. No seeking is involved: an index that lies, or is missing, changes nothing.

What comes out is certain, or `Uncertain` is raised in its place: at damage of any kind, where
pieces are too long or hold too many frames. Whoever asked goes on one by one from there.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

import numpy as np

from video.frame_sources.pyav_decoder import StreamDecoder
from video.frame_sources.stream_facts import StreamFacts, opened
from video.packet_plan import PacketStep
from video.sampling import SamplePlan

# More packets than a decoder holds back: when a piece is sound, the one before had come out whole
# even where the next packet after it ends everything.
MIN_STEPS = 32
# Compressed packets of one piece; longer groups of pictures are decoded one by one.
MAX_STEPS = 600
# Sampled frames of one piece; denser sampling keeps FFmpeg's own threads busy.
MAX_PIECE_FRAMES = 24
# Sampled frames of all pieces under way together, unless two pieces have more.
MAX_FRAMES_AHEAD = 64

Picked = list[tuple[int, np.ndarray | None]]
"""Stamp and RGB of frames in display order; None for a frame that no sample falls on."""


class Uncertain(Exception):
    """Only decoding one by one tells how the video goes on."""


class Piece:
    """Steps that need nothing before them."""

    def __init__(self, plan: SamplePlan) -> None:
        self.steps: list[PacketStep] = []
        self._plan = plan
        self._lowest = self._highest = 0

    def add(self, step: PacketStep) -> None:
        """The next one; its packet has a stamp."""
        stamp = step.packet.pts
        assert stamp is not None
        self._lowest = min(self._lowest, stamp) if self.steps else stamp
        self._highest = max(self._highest, stamp) if self.steps else stamp
        self.steps.append(step)

    @property
    def num_frames(self) -> int:
        """Sampled frames that may come from it, at most."""
        first, end = map(self._plan.first_from, (self._lowest, self._highest + 1))
        return end - first + 1

    @property
    def is_long(self) -> bool:
        """Too long to be decoded as a whole."""
        return len(self.steps) > MAX_STEPS or self.num_frames > MAX_PIECE_FRAMES


class PieceDecoder:
    """Decodes the needed packets of `planner` with up to `workers` threads."""

    def __init__(
        self,
        path: Path,
        facts: StreamFacts,
        plan: SamplePlan,
        workers: int,
        to_rgb: Callable[[Any], np.ndarray],
    ) -> None:
        self._path, self._facts, self._plan = path, facts, plan
        self._workers, self._to_rgb = workers, to_rgb
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self._num_opened = 0
        self._stopped = Event()

    def keyed_frames(
        self, planner: StreamDecoder, is_restart: Callable[[Any], bool]
    ) -> Generator[tuple[int, np.ndarray | None], None, None]:
        """As `StreamDecoder.needed_frames`, with RGB for frames that are certain to be asked for.

        A piece is handed out once the one after it is known to be sound. `planner` is told of
        every frame, so that it knows when the video ends. Raises Uncertain.
        """
        with ExitStack() as files:
            pool = ThreadPoolExecutor(self._workers, "video-piece")
            try:
                held: Picked = []
                for picked in self._in_order(pool, files, planner, is_restart):
                    yield from self._told(planner, held)
                    held = picked
                if planner.damage is not None:
                    raise Uncertain(planner.damage)
                yield from self._told(planner, held)
            finally:
                self._stopped.set()
                pool.shutdown(cancel_futures=True)

    def _in_order(
        self,
        pool: ThreadPoolExecutor,
        files: ExitStack,
        planner: StreamDecoder,
        is_restart: Callable[[Any], bool],
    ) -> Iterator[Picked]:
        under_way: deque[tuple[Future[Picked], int]] = deque()
        pieces, doubt = cut(planner.steps(is_restart), self._plan), None
        while doubt is None and (piece := next(pieces, None)) is not None:
            if isinstance(piece, Uncertain):
                doubt = piece
                continue
            while self._is_full(under_way, piece.num_frames):
                yield under_way.popleft()[0].result()
            self._open(files)
            under_way.append((pool.submit(self._decode, piece.steps), piece.num_frames))
        while under_way:
            yield under_way.popleft()[0].result()
        if doubt is not None:
            raise doubt

    def _is_full(self, under_way: deque[tuple[Future[Picked], int]], num_frames: int) -> bool:
        ahead = num_frames + sum(count for _, count in under_way)
        return len(under_way) > self._workers or (len(under_way) > 1 and ahead > MAX_FRAMES_AHEAD)

    def _open(self, files: ExitStack) -> None:
        """One more decoder, until there is one for every thread."""
        if self._num_opened < self._workers:
            self._num_opened += 1
            _, stream = files.enter_context(opened(self._path))
            stream.codec_context.thread_count = 1
            self._idle.put(stream.codec_context)

    def _decode(self, steps: list[PacketStep]) -> Picked:
        context = self._idle.get()
        try:
            return self._sound(StreamDecoder(self._facts, self._plan, context, iter(())), steps)
        finally:
            context.flush_buffers()
            self._idle.put(context)

    def _sound(self, decoder: StreamDecoder, steps: list[PacketStep]) -> Picked:
        """The frames of a piece. Raises Uncertain if anything about them is not as planned."""
        picked: Picked = []
        held: tuple[int, Any] | None = None
        for key, frame in decoder.frames_of(self._until_stopped(steps)):
            if (frame.width, frame.height) != self._facts.size or frame.pts is None:
                raise Uncertain("the picture changes its size")
            if held is not None:
                if key <= held[0]:
                    raise Uncertain("frames out of order")
                needed = self._plan.deadline(self._plan.first_from(held[0])) < key
                picked.append((held[0], self._to_rgb(held[1]) if needed else None))
            held = key, frame
        if held is not None:  # how long it stays on screen, the next piece knows
            picked.append((held[0], self._to_rgb(held[1])))
        shown = {step.packet.pts for step in steps if step.shown and not step.packet.is_discard}
        if decoder.num_corrupt or decoder.damage or not shown <= {key for key, _ in picked}:
            raise Uncertain("a damaged frame")
        return picked

    def _until_stopped(self, steps: list[PacketStep]) -> Iterator[PacketStep]:
        for step in steps:
            if self._stopped.is_set():
                return
            yield step

    def _told(self, planner: StreamDecoder, picked: Picked) -> Iterator[tuple[int, Any]]:
        for key, frame in picked:
            planner.num_decoded += 1
            planner.last_key = key
            yield key, frame


def cut(steps: Iterator[PacketStep], plan: SamplePlan) -> Iterator[Piece | Uncertain]:
    """Pieces of at least MIN_STEPS, the last excepted, each beginning where decoding restarts.

    The last one is an Uncertain after a packet without a stamp, and where nothing restarts for too
    long.
    """
    piece = Piece(plan)
    for step in steps:
        if step.packet.pts is None:
            yield Uncertain("a packet without a stamp")
            return
        if step.restart and len(piece.steps) >= MIN_STEPS:
            yield piece
            piece = Piece(plan)
        piece.add(step)
        if piece.is_long:
            yield Uncertain("nothing restarts for long")
            return
    if piece.steps:
        yield piece
