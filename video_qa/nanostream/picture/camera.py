"""What a camera and the light do to a picture: shake, drift of light and colour, noise."""

from dataclasses import dataclass

import numpy as np

from video_qa.nanostream.degrees import Degree

LIGHT_PERIOD_SECONDS, COLOUR_PERIOD_SECONDS = (9.0, 40.0), (15.0, 60.0)


@dataclass(frozen=True)
class Camera:
    """Drawn once per stream; every frame then draws its shake and noise."""

    degree: Degree
    noise_std: float
    light: tuple[float, float]  # radians per second, phase
    colour: np.ndarray  # (2, 3): the same for each channel

    def take(self, image: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
        """The picture as it is recorded: uint8 `(size, size, 3)`."""
        degree = self.degree
        if degree.jitter:
            image = shake(image, rng.uniform(-degree.jitter, degree.jitter, 2) * len(image))
        if degree.light_swing or degree.colour_swing:
            image = image * self._gain(seconds)
        channels = 3 if degree.colour_noise else 1
        noise = rng.standard_normal((*image.shape[:2], channels), np.float32)
        image += self.noise_std * noise
        return np.clip(image, 0, 255).astype(np.uint8)

    def _gain(self, seconds: float) -> np.ndarray:
        light = 1 + self.degree.light_swing * np.sin(self.light[0] * seconds + self.light[1])
        swing = np.sin(self.colour[0] * seconds + self.colour[1])
        return (light * (1 + self.degree.colour_swing * swing)).astype(np.float32)


def make_camera(degree: Degree, seed: int) -> Camera:
    rng = np.random.default_rng([seed, 1])
    light = 2 * np.pi / rng.uniform(*LIGHT_PERIOD_SECONDS), rng.uniform(0, 2 * np.pi)
    speed = 2 * np.pi / rng.uniform(*COLOUR_PERIOD_SECONDS, 3)
    colour = np.stack([speed, rng.uniform(0, 2 * np.pi, 3)])
    return Camera(degree, float(rng.choice(degree.noise_std)), light, colour)


def shake(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Shift by whole pixels `(down, right)`; the border is continued."""
    rows, columns = (
        np.clip(np.arange(length) - round(by), 0, length - 1)
        for length, by in zip(image.shape[:2], shift, strict=True)
    )
    return image[rows][:, columns]


def flash(image: np.ndarray, seed: int) -> None:
    """Burn the picture out, in place: hardly anything can be told."""
    rng = np.random.default_rng(seed)
    tint = np.array([255, 255, 255], np.float32) - rng.uniform(0, 25, 3).astype(np.float32)
    image += np.float32(rng.uniform(0.94, 1.0)) * (tint - image)
