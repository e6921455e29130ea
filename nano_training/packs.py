"""Packs: one symbolic stream and as many questions about it as fit, as token numbers."""

import random

import torch

from nano_training import texts
from nano_training.decoder import IGNORE, Batch
from nano_training.eyes import contents
from nano_training.lookup import indicator, looked_up, pairs_of
from nano_training.pack import Pack
from nano_training.syllabus import syllabus_at
from video_qa.nanostream.facts import Facts, follow
from video_qa.nanostream.questions import TASKS, Draft
from video_qa.nanostream.world import make_world

BINDING, GUIDANCE = "binding", "guidance"
OPTIONS_BEGIN = "?\nOptions:"  # a token of its own, like every fixed phrase
TASK_NAMES = [f"{task} {kind}" for task in TASKS for kind in ("choice", "words")]
TASK_NAMES += [BINDING, GUIDANCE]
BINDING_SHARE, GUIDANCE_SHARE, HISTORY_SHARE = 0.06, 0.10, 0.3


class PackMaker:
    """Makes batches of packs; a batch is a function of its seed."""

    def __init__(self, tokenizer, room: int = 208) -> None:
        self.room = room
        self.syllabus = syllabus_at(0.0)
        self.tokenizer = tokenizer
        self.end = tokenizer.eos_token_id
        self.prefix = self.tokens(texts.INIT_PROMPT)
        (self.options_begin,) = self.tokens(OPTIONS_BEGIN)
        self.guides = {
            self.tokens(texts.LOCAL_GUIDANCE)[0]: lambda facts: pairs_of(facts.visible),
            self.tokens(texts.GLOBAL_GUIDANCE)[0]: lambda facts: facts.last_seen,
        }

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
        return self._question(pack, facts, rng, visible, history)

    def _draw(self, facts: Facts, rng: random.Random) -> tuple[str, Draft]:
        """A task that can be asked now, and its question."""
        while True:
            name = self.syllabus.draw(rng)
            draft = TASKS[name](facts, rng)
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

    def make_pack(self, rng: random.Random, num_frames: int) -> tuple[list[list[int]], Pack]:
        pack, history = Pack(self.room), list[tuple[str, str]]()
        if num_frames == 0:
            while self._ask(pack, None, rng, history):
                pass
            pack.pad()
            return [], pack
        world = make_world(rng.getrandbits(48), num_frames)
        wanted = sorted(int(num_frames * rng.random() ** 0.6) for _ in range(self.room // 10))
        rng.shuffle(wanted)
        wanted = sorted(wanted[: self.room // 12])
        for facts in follow(world):
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
