"""How hard the streams of a degree are to watch and to remember.

Seconds are of the stream, `size` is the side of the frame, shares are of 1. What a degree changes
never makes a question undecidable: what is asked about has been on the screen, undisturbed, in
front of every watcher who looks at least every other second.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Degree:
    """The settings of one degree; every default is that of `clean`.

    What is seen:
        noise_std: of the sensor, of 255; one of them is drawn per stream.
        colour_noise: each channel has noise of its own.
        light_swing, colour_swing: largest change of brightness, and of one channel, as a share.
        jitter: largest shift of the whole picture between two frames, share of `size`.
        scroll, texture: speed and contrast of the background, times those of `clean`.
        rich_looks: things differ in size, pattern, second colour and motion from scene to scene,
            and change a little within one.

    What happens:
        bursts: scenes of 3 or 4 seconds in a row, then one of up to half a minute.
        flash_share, cutaway_share: of the seconds that may be lost to a white-out, or to a picture
            of something else.
        odd_share: of the scenes in which a thing of no known shape shows up for a second or two.
        clutter_share: of the empty places that are littered for a scene.
        num_regular: shapes that come back all the time.
        counts: relative frequency of one, two and three things in a new scene.
        calm_seconds, eventful_seconds: inclusive range of a scene's length.
    """

    noise_std: tuple[float, ...] = (6.0,)
    colour_noise: bool = False
    light_swing: float = 0.0
    colour_swing: float = 0.0
    jitter: float = 0.0
    scroll: float = 1.0
    texture: float = 1.0
    rich_looks: bool = False
    bursts: bool = False
    flash_share: float = 0.0
    cutaway_share: float = 0.0
    odd_share: float = 0.0
    clutter_share: float = 0.0
    num_regular: int = 4
    counts: tuple[float, float, float] = (0.5, 0.25, 0.25)
    calm_seconds: tuple[int, int] = (4, 8)
    eventful_seconds: tuple[int, int] = (6, 10)

    @property
    def disturbed(self) -> bool:
        """Whether anything but the known things comes and goes."""
        return any((self.flash_share, self.cutaway_share, self.odd_share, self.clutter_share))


DEGREES = {
    "clean": Degree(),
    "noisy": Degree(
        noise_std=(8.0, 14.0, 20.0),
        colour_noise=True,
        light_swing=0.22,
        colour_swing=0.07,
        jitter=0.025,
        scroll=4.0,
        texture=1.5,
    ),
    "busy": Degree(
        bursts=True,
        flash_share=0.08,
        cutaway_share=0.05,
        odd_share=0.5,
        clutter_share=0.3,
    ),
    "rich": Degree(
        rich_looks=True,
        num_regular=6,
        counts=(0.3, 0.3, 0.4),
        calm_seconds=(4, 6),
        eventful_seconds=(6, 8),
    ),
}
"""Name -> settings, from easy to hard to hold."""
CLEAN = "clean"


def degree_named(name: str) -> Degree:
    """The settings of a degree.

    Raises:
        ValueError: there is none of that name; the message lists those there are.
    """
    if name not in DEGREES:
        raise ValueError(f"degree {name!r} is unknown; there are {', '.join(DEGREES)}")
    return DEGREES[name]
