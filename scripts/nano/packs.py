"""Packs: one symbolic stream and as many questions about it as fit, as token numbers."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch

from scripts.nano import texts
from scripts.nano.decoder import IGNORE, Batch
from scripts.nano.eyes import NOTHING, contents
from video_qa.nanostream.facts import Facts, watch
from video_qa.nanostream.questions import TASKS
from video_qa.nanostream.vocabulary import COLOURS, SHAPES
from video_qa.nanostream.world import State, make_world

BINDING, GUIDANCE = "binding", "guidance"
OPTIONS_BEGIN = "?\nOptions:"  # a token of its own, like every fixed phrase
TASK_NAMES = [f"{task} {kind}" for task in TASKS for kind in ("choice", "words")]
TASK_NAMES += [BINDING, GUIDANCE]
BINDING_SHARE, GUIDANCE_SHARE, HISTORY_SHARE = 0.06, 0.10, 0.3
CHOICE_SHARE = 0.55  # letters are learned later than words
# Easily learned tasks are asked less often; what is rarely askable more often when it is.
TASK_WEIGHTS = {"now_colour": 0.6, "now_shape": 0.7, "now_place": 1.0, "now_count": 0.8}
TASK_WEIGHTS |= {"recent_shape": 5, "recent_colour": 5, "recent_former_colour": 3}
TASK_WEIGHTS |= {"recent_former_place": 2, "recent_change": 6, "count_colours": 3.5}
TASK_WEIGHTS |= {"order_first": 1.5, "far_ever": 1.5, "unanswerable": 0.6}
# Of the last part of the training: what needs several moments at once is learned last.
LATE_WEIGHTS = {"now_colour": 0.7, "now_shape": 0.7, "now_place": 0.7, "now_count": 0.4}
LATE_WEIGHTS |= {"recent_shape": 6, "recent_colour": 6, "recent_former_colour": 4}
LATE_WEIGHTS |= {"recent_former_place": 3, "recent_change": 10, "count_colours": 6}
LATE_WEIGHTS |= {"far_first_shape": 0.5, "far_first_colour": 0.8, "unanswerable": 0.6}


@dataclass
class Pack:
    """Growing columns of the question region."""

    room: int
    ids: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    hints: list[int] = field(default_factory=list)
    visible: list[int] = field(default_factory=list)
    segment: list[int] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)
    task: list[int] = field(default_factory=list)
    sets: list[tuple[int, list[int]]] = field(default_factory=list)

    def add(self, prompt: list[int], answer: list[int], visible: int, task: str) -> bool:
        """Append one question; False, and nothing done, if there is no room for it."""
        tokens = prompt + answer[:-1]
        if len(self.ids) + len(tokens) > self.room:
            return False
        number = self.segment[-1] + 1 if self.segment else 0
        self.ids += tokens
        self.targets += [IGNORE] * (len(prompt) - 1) + answer
        self.hints += [IGNORE] * len(tokens)
        self.visible += [visible] * len(tokens)
        self.segment += [number] * len(tokens)
        self.offset += range(len(tokens))
        self.task += [TASK_NAMES.index(task)] * len(tokens)
        return True

    def pad(self) -> None:
        missing = self.room - len(self.ids)
        number = self.segment[-1] + 1 if self.segment else 0
        self.ids += [0] * missing
        self.targets += [IGNORE] * missing
        self.hints += [IGNORE] * missing
        self.visible += [1] * missing
        self.segment += range(number, number + missing)
        self.offset += [0] * missing
        self.task += [0] * missing


Pairs = Iterable[tuple[str, str]]  # (shape, colour)


def _pairs(state: State) -> list[tuple[str, str]]:
    return [(thing.shape, thing.colour) for thing in state]


def _numbers(pairs: Pairs) -> set[int]:
    return {SHAPES.index(shape) * len(COLOURS) + COLOURS.index(colour) for shape, colour in pairs}


def _indicator(numbers: set[int]) -> list[int]:
    return [int(i in numbers) for i in range(NOTHING)]


def looked_up(task: str, facts: Facts, question: str) -> Pairs | None:
    """What has to be found in the stream before this question can be answered."""
    if task in ("recent_shape", "recent_colour"):
        return _pairs(facts.previous_scene[0])
    if task.startswith("recent"):
        return _pairs(facts.change()[0])
    if task in ("count_colours", "far_colour", "far_ever", "unanswerable"):
        return [pair for pair in facts.last_seen if f" {pair[0]}" in question]
    return None


class PackMaker:
    """Makes batches of packs; a batch is a function of its seed."""

    def __init__(self, tokenizer, room: int = 208) -> None:
        self.room = room
        self.late = False  # which of the two tables of weights counts
        self.tokenizer = tokenizer
        self.end = tokenizer.eos_token_id
        self.prefix = self.tokens(texts.INIT_PROMPT)
        (self.options_begin,) = self.tokens(OPTIONS_BEGIN)
        self.guides = {
            self.tokens(texts.LOCAL_GUIDANCE)[0]: lambda facts: _pairs(facts.visible),
            self.tokens(texts.GLOBAL_GUIDANCE)[0]: lambda facts: facts.last_seen,
        }
        self.cache: dict[str, list[int]] = {}

    def tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def _ask(self, pack: Pack, facts: Facts | None, rng: random.Random, history: list) -> bool:
        draw = rng.random()
        visible = len(self.prefix) + 4 * (facts.second + 1 if facts else 0)
        if facts is None or draw < BINDING_SHARE:
            return self._put(pack, *texts.binding(rng), visible, BINDING)
        if draw < BINDING_SHARE + GUIDANCE_SHARE:
            turn = rng.choice(history) if history and rng.random() < HISTORY_SHARE else None
            return self._guide(pack, facts, visible, *texts.guidance(facts, rng, turn))
        while True:
            name = rng.choices(_NAMES, _LATE if self.late else _EARLY)[0]
            draft = TASKS[name](facts, rng)
            if draft:
                break
        choice = rng.random() < CHOICE_SHARE
        history.append((draft.question, draft.answer))
        kind, start = "choice" if choice else "words", len(pack.ids)
        if not self._put(pack, *texts.ask(draft, rng, choice), visible, f"{name} {kind}"):
            return False
        at = self._end_of_question(pack, start, choice)
        if choice:
            pack.hints[at] = self.tokens(f" {draft.answer}")[0]
        things = looked_up(name, facts, draft.question)
        if things is not None:
            pack.sets.append((at, _indicator(_numbers(things))))
        return True

    def _end_of_question(self, pack: Pack, start: int, choice: bool) -> int:
        """Where the question is complete: at its options, or just before the answer."""
        if choice:
            return pack.ids.index(self.options_begin, start)
        return next(at for at in range(start, len(pack.ids)) if pack.targets[at] != IGNORE)

    def _put(self, pack: Pack, prompt: str, answer: str, visible: int, task: str) -> bool:
        return pack.add(self.tokens(prompt), [*self.tokens(answer), self.end], visible, task)

    def _guide(self, pack: Pack, facts: Facts, visible: int, prompt: str, answer: str) -> bool:
        start = len(pack.ids)
        if not self._put(pack, prompt, answer, visible, GUIDANCE):
            return False
        for at in range(start, len(pack.ids)):
            if pack.ids[at] in self.guides:
                pack.sets.append((at, _indicator(_numbers(self.guides[pack.ids[at]](facts)))))
        return True

    def make_pack(self, rng: random.Random, num_frames: int) -> tuple[list[list[int]], Pack]:
        pack, history = Pack(self.room), []
        if num_frames == 0:
            while self._ask(pack, None, rng, history):
                pass
            pack.pad()
            return [], pack
        world = make_world(rng.getrandbits(48), num_frames)
        wanted = sorted(int(num_frames * rng.random() ** 0.6) for _ in range(self.room // 10))
        rng.shuffle(wanted)
        wanted = sorted(wanted[: self.room // 12])
        for facts in watch(world):
            for _ in range(wanted.count(facts.second)):
                self._ask(pack, facts, rng, history)
        pack.pad()
        return [contents(state) for state in world.states], pack

    def make_batch(self, seed: int, num_frames: int, num_packs: int) -> Batch:
        rng = random.Random(seed)
        made = [self.make_pack(rng, num_frames) for _ in range(num_packs)]
        packs = [pack for _, pack in made]
        sets = [(row, *entry) for row, pack in enumerate(packs) for entry in pack.sets]
        columns = {
            name: torch.tensor([getattr(pack, name) for pack in packs])
            for name in ("visible", "segment", "offset", "targets", "hints", "task")
        }
        return Batch(
            prefix_ids=torch.tensor([self.prefix]),
            contents=torch.tensor([frames for frames, _ in made]).view(num_packs, -1, 4).long(),
            region_ids=torch.tensor([pack.ids for pack in packs]),
            set_rows=torch.tensor([row for row, _, _ in sets], dtype=torch.long),
            set_columns=torch.tensor([at for _, at, _ in sets], dtype=torch.long),
            sets=torch.tensor([named for _, _, named in sets], dtype=torch.float32),
            **columns,
        )


_NAMES = list(TASKS)
_EARLY = [TASK_WEIGHTS.get(name, 1.0) for name in TASKS]
_LATE = [LATE_WEIGHTS.get(name, 1.0) for name in TASKS]
