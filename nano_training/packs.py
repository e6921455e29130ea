"""Packs: one symbolic stream and as many questions about it as fit, as token numbers."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nano_training import texts
from nano_training.contents import contents_at
from nano_training.decoder import IGNORE, Batch
from nano_training.lookup import indicator, looked_up, pairs_of
from nano_training.pack import Pack
from nano_training.syllabus import syllabus_at
from video_qa.nanostream.degrees import CLEAN, DEGREES
from video_qa.nanostream.facts import Facts, follow
from video_qa.nanostream.questions import EDITIONS, NEWEST_EDITION, Draft
from video_qa.nanostream.world import make_world

BINDING, GUIDANCE = "binding", "guidance"
OPTIONS_BEGIN = "?\nOptions:"  # a token of its own, like every fixed phrase
TASK_NAMES = [f"{task} {kind}" for task in EDITIONS[NEWEST_EDITION] for kind in ("choice", "words")]
TASK_NAMES += [BINDING, GUIDANCE]
BINDING_SHARE, GUIDANCE_SHARE, HISTORY_SHARE = 0.06, 0.10, 0.3
DEGREE_SHARES = {"clean": 0.2, "noisy": 0.2, "busy": 0.27, "rich": 0.33}
# Frames per second: at 1/2, the frames of even seconds; at 2, those halfway through a change too.
RATE_SHARES = {1.0: 0.7, 0.5: 0.15, 2.0: 0.15}


def draw_from(shares: dict, rng: random.Random):
    """A key, as often as its share says."""
    return rng.choices(list(shares), list(shares.values()))[0]


class PackMaker:
    """Makes batches of packs; a batch is a function of its seed."""

    def __init__(self, tokenizer, room: int = 208) -> None:
        self.room = room
        self.degree_shares, self.rate_shares = DEGREE_SHARES, RATE_SHARES
        self.syllabus = syllabus_at(0.0)
        self.tokenizer = tokenizer
        self.end = tokenizer.eos_token_id
        self.prefix = self.tokens(texts.INIT_PROMPT)
        (self.options_begin,) = self.tokens(OPTIONS_BEGIN)
        self.guides = {
            self.tokens(texts.LOCAL_GUIDANCE)[0]: lambda facts: pairs_of(facts.visible),
            self.tokens(texts.GLOBAL_GUIDANCE)[0]: lambda facts: facts.last_seen,
        }

    @contextmanager
    def only(self, degree: str) -> Iterator[None]:
        """One degree, one frame per second: for evaluations."""
        before = self.degree_shares, self.rate_shares
        self.degree_shares, self.rate_shares = {degree: 1.0}, {1.0: 1.0}
        try:
            yield
        finally:
            self.degree_shares, self.rate_shares = before

    def tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def _ask(
        self, pack: Pack, facts: Facts | None, rng: random.Random, history: list, frames: int = 0
    ) -> bool:
        """One question after `frames` frames."""
        draw, visible = rng.random(), len(self.prefix) + 4 * frames
        if facts is None or draw < BINDING_SHARE:
            return self._put(pack, *texts.binding(rng), visible, BINDING)
        if draw < BINDING_SHARE + GUIDANCE_SHARE:
            turn = rng.choice(history) if history and rng.random() < HISTORY_SHARE else None
            return self._guide(pack, facts, visible, *texts.guidance(facts, rng, turn))
        return self._question(pack, facts, rng, visible, history)

    def _draw(self, facts: Facts, rng: random.Random) -> tuple[str, Draft]:
        """A task that can be asked now, and its question."""
        while True:
            name, tasks = self.syllabus.draw(rng), rng.choice(list(EDITIONS.values()))
            draft = tasks[name](facts, rng)
            if draft:
                return name, draft

    def _question(
        self, pack: Pack, facts: Facts, rng: random.Random, visible: int, history: list
    ) -> bool:
        name, draft = self._draw(facts, rng)
        choice, start = rng.random() < self.syllabus.choice_share, len(pack.ids)
        history.append((draft.question, draft.answer))
        task = f"{name} {'choice' if choice else 'words'}"
        if not self._put(pack, *texts.ask(draft, rng, choice), visible, task):
            return False
        at = self._end_of_question(pack, start, choice)
        if choice:
            pack.hints[at] = self.tokens(f" {draft.answer}")[0]
        things = looked_up(name, facts, draft.question)
        if things is not None:
            pack.sets.append((at, indicator(things)))
        return True

    def _end_of_question(self, pack: Pack, start: int, choice: bool) -> int:
        """Where the question is complete: at its options, or just before the answer."""
        if choice:
            return pack.ids.index(self.options_begin, start)
        return next(at for at in range(start, len(pack.ids)) if pack.targets[at] != IGNORE)

    def _put(self, pack: Pack, prompt: str, answer: str, visible: int, task: str) -> bool:
        number = TASK_NAMES.index(task)
        return pack.add(self.tokens(prompt), [*self.tokens(answer), self.end], visible, number)

    def _guide(self, pack: Pack, facts: Facts, visible: int, prompt: str, answer: str) -> bool:
        start = len(pack.ids)
        if not self._put(pack, prompt, answer, visible, GUIDANCE):
            return False
        for at in range(start, len(pack.ids)):
            if pack.ids[at] in self.guides:
                pack.sets.append((at, indicator(self.guides[pack.ids[at]](facts))))
        return True

    def make_pack(self, rng: random.Random, num_frames: int) -> tuple[str, list[list[int]], Pack]:
        """Degree, contents of the frames, questions."""
        pack, history = Pack(self.room), list[tuple[str, str]]()
        if num_frames == 0:
            while self._ask(pack, None, rng, history):
                pass
            pack.pad()
            return CLEAN, [], pack
        degree, rate = draw_from(self.degree_shares, rng), draw_from(self.rate_shares, rng)
        world = make_world(rng.getrandbits(48), round(num_frames / rate), degree)
        wanted = sorted(int(num_frames * rng.random() ** 0.6) for _ in range(self.room // 10))
        rng.shuffle(wanted)
        wanted = sorted(wanted[: self.room // 12])
        for facts in follow(world):
            last = facts.second * rate  # the frame on screen, if one is due
            if last.is_integer() and not world.unseen(facts.second):
                for _ in range(sum(last <= frame < last + max(1, rate) for frame in wanted)):
                    self._ask(pack, facts, rng, history, int(last) + 1)
        pack.pad()
        return degree, [contents_at(world, round(2 * i / rate)) for i in range(num_frames)], pack

    def make_batch(self, seed: int, num_frames: int, num_packs: int) -> Batch:
        rng = random.Random(seed)
        made = [self.make_pack(rng, num_frames) for _ in range(num_packs)]
        packs = [pack for _, _, pack in made]
        sets = [(row, *entry) for row, pack in enumerate(packs) for entry in pack.sets]
        columns = {
            name: torch.tensor([getattr(pack, name) for pack in packs])
            for name in ("visible", "segment", "offset", "targets", "hints", "task")
        }
        return Batch(
            prefix_ids=torch.tensor([self.prefix]),
            degree=torch.tensor([list(DEGREES).index(degree) for degree, _, _ in made]),
            target_at=_told(columns["targets"]),
            hint_at=_told(columns["hints"]),
            contents=torch.tensor([frames for _, frames, _ in made]).view(num_packs, -1, 4).long(),
            region_ids=torch.tensor([pack.ids for pack in packs]),
            set_rows=torch.tensor([row for row, _, _ in sets], dtype=torch.long),
            set_columns=torch.tensor([at for _, at, _ in sets], dtype=torch.long),
            sets=torch.tensor([named for _, _, named in sets], dtype=torch.float32),
            **columns,
        )


def _told(column: torch.Tensor) -> torch.Tensor:
    """Flat places of what is not `IGNORE`."""
    return (column.flatten() != IGNORE).nonzero().flatten()
