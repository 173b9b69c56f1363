"""The window functions that tapers and spectra multiply a frame by."""

from typing import Final

import numpy as np

from edgeml.arrays import Wide

COSINES: Final = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "rectangular": (1.0,),
}
"""Each window as a sum of cosines with alternating signs (Harris, 1978)."""

WINDOWS: Final = tuple(COSINES)


def window_function(name: str, size: int, periodic: bool = True) -> Wide:
    """A window of `size` values, float64.

    Periodic leaves out the last of size + 1 symmetric values, so that frames
    overlapping by half add up evenly; symmetric has both ends.
    """
    if size == 1:
        return np.ones(1)
    span = size if periodic else size - 1
    phase = 2 * np.pi * np.arange(size) / span
    total = np.zeros(size)
    for k, weight in enumerate(COSINES[name]):
        total += (-1) ** k * weight * np.cos(k * phase)
    return total
