"""One pack: growing columns of token numbers and what goes with them."""

from dataclasses import dataclass, field

from nano_training.decoder import IGNORE


@dataclass
class Pack:
    """Growing columns of the question region; what each holds is told at `decoder.Batch`.

    `sets` are (column, what to name there).
    """

    room: int
    ids: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    hints: list[int] = field(default_factory=list)
    visible: list[int] = field(default_factory=list)
    segment: list[int] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)
    task: list[int] = field(default_factory=list)
    sets: list[tuple[int, list[int]]] = field(default_factory=list)

    def add(self, prompt: list[int], answer: list[int], visible: int, task: int) -> bool:
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
        self.task += [task] * len(tokens)
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
