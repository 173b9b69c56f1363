"""Pictures as the model takes them: float32 (height, width, channels), 0 to 255, RGB or grey.

A folder of images is read one at a time, when it is their turn; the name of
the folder that an image lies in is its label.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import ConfigError, SensorError, nearest
from edgeml.sensors.needs import needed

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
COLOURS: Final = ("rgb", "grey")
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601, as PIL and OpenCV weigh the colours."""

Size = tuple[int, int]
"""Height and width, in pixels."""


def checked_size(size: Sequence[int]) -> Size:
    """The size, as a pair.

    Raises:
        ConfigError: it is not two positive numbers.
    """
    if len(size) != 2 or min(size) < 1:
        raise ConfigError(f"size={size}: give (height, width) in pixels")
    return size[0], size[1]


def checked_colour(colour: str) -> int:
    """How many channels pictures of this colour have.

    Raises:
        ConfigError: there is no such colour.
    """
    if colour not in COLOURS:
        raise ConfigError(
            f"colour={colour!r} is none of {', '.join(COLOURS)}{nearest(colour, COLOURS)}"
        )
    return 1 if colour == "grey" else 3


def as_frame(rgb: npt.NDArray[Any], colour: str) -> npt.NDArray[np.float32]:
    """A picture uint8 (height, width, 3) as float32 (height, width, 3 or 1), 0 to 255."""
    frame: npt.NDArray[np.float32] = rgb.astype(np.float32)
    if colour == "rgb":
        return np.ascontiguousarray(frame)
    grey: npt.NDArray[np.float32] = frame @ _LUMA
    return grey[..., np.newaxis]


class ImageFolder:
    """The images of a folder and those below it, in the order of their names.

    Args:
        folder: where they are.
        size: what each is scaled to, by averaging; as it is by default.
        colour: `rgb` or `grey`.

    Raises:
        SensorError: there is no image in it.
        ConfigError: a look that there is not.
        MissingDependencyError: Pillow is not installed.
    """

    __slots__ = ("_colour", "_image", "_size", "labels", "paths")

    def __init__(
        self, folder: Path, *, size: Sequence[int] | None = None, colour: str = "rgb"
    ) -> None:
        checked_colour(colour)
        self._image = needed("PIL.Image", "a folder of images")
        self._size = None if size is None else checked_size(size)
        self._colour = colour
        self.paths: Sequence[Path] = sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES
        )
        if not self.paths:
            raise SensorError(f"{folder}: holds no image; it reads {', '.join(SUFFIXES)}")
        nested = any(path.parent != folder for path in self.paths)
        self.labels = tuple(path.parent.name for path in self.paths) if nested else None

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        return (self[at] for at in range(len(self)))

    def __getitem__(self, at: int) -> npt.NDArray[np.float32]:
        """The image of this number, as a frame.

        Raises:
            IndexError: there are not so many.
            SensorError: it cannot be read.
        """
        path = self.paths[at]
        try:
            with self._image.open(path) as file:
                image = file.convert("RGB")
                if self._size is not None and image.size != self._size[::-1]:
                    image = image.resize(self._size[::-1], self._image.Resampling.BOX)
                return as_frame(np.asarray(image), self._colour)
        except (OSError, ValueError, SyntaxError, self._image.DecompressionBombError) as exc:
            raise SensorError(f"{path}: cannot be read as an image ({exc})") from exc
