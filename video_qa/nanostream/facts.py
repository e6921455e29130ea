"""What an attentive watcher knows at a given second: the oracle behind every answer."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from video_qa.nanostream.degrees import CLEAN
from video_qa.nanostream.world import State, Thing, World


@dataclass
class Facts:
    """Knowledge after watching seconds `0 .. second`, updated in place by `follow`."""

    degree: str = CLEAN
    second: int = -1
    visible: State = ()
    first: Thing | None = None
    first_seen: dict[str, int] = field(default_factory=dict)  # shape -> second
    last_seen: dict[tuple[str, str], int] = field(default_factory=dict)  # (shape, colour) -> second
    colours: dict[str, list[str]] = field(default_factory=dict)  # shape -> in order of appearance
    scene_states: list[State] = field(default_factory=list)  # different states of this scene
    previous_scene: list[State] = field(default_factory=list)

    def see(self, state: State, new_scene: bool) -> None:
        """Take in the state of the next second."""
        self.second += 1
        if new_scene:
            self.previous_scene, self.scene_states = self.scene_states, []
        if not self.scene_states or state != self.visible or new_scene:
            self.scene_states.append(state)
        self.visible = state
        self.first = self.first or state[0]
        for thing in state:
            self.first_seen.setdefault(thing.shape, self.second)
            self.last_seen[thing.shape, thing.colour] = self.second
            seen = self.colours.setdefault(thing.shape, [])
            if thing.colour not in seen:
                seen.append(thing.colour)

    def shape_visible(self, shape: str) -> bool:
        return any(thing.shape == shape for thing in self.visible)

    def seconds_since_shape(self, shape: str) -> int:
        """Seconds since `shape` was last visible, in any colour."""
        return self.second - max(self.last_seen[shape, c] for c in self.colours[shape])

    def change(self) -> tuple[State, State] | None:
        """The last change inside the current scene, as the states before and after it."""
        if len(self.scene_states) < 2:
            return None
        return self.scene_states[-2], self.scene_states[-1]


def follow(world: World) -> Iterator[Facts]:
    """Yield the same `Facts` once per second; read it before asking for the next."""
    facts = Facts(world.degree)
    starts = {scene.start_second for scene in world.scenes}
    for second, state in enumerate(world.states):
        facts.see(state, second in starts)
        yield facts
