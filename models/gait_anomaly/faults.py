"""Copies of real walking with one known fault each: what a device will meet sooner or later.

The recording has no labelled anomaly, so these stand in for one. They are made,
not recorded, and the card says so. Every fault is a plain physical change of
the accelerations; its size is fixed here, before any model was trained.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

SAMPLE_RATE_HZ: Final = 64.0
ANKLE, LEG, TRUNK = slice(0, 3), slice(3, 6), slice(6, 9)
HURRY: Final = 1.3
"""How much faster the hurried copies walk; they need that many times the samples."""


def _smaller(windows: Floats, sensors: slice, factor: float) -> Floats:
    changed: Floats = windows.copy()
    part = changed[..., sensors]
    still = part.mean(axis=1, keepdims=True)
    changed[..., sensors] = still + factor * (part - still)
    return changed


def shuffling(windows: Floats) -> Floats:
    """Both segments and the trunk move 0.6 times as hard."""
    return _smaller(windows, slice(0, 9), 0.6)


def limping(windows: Floats) -> Floats:
    """The instrumented leg moves 0.6 times as hard, the trunk as before."""
    return _smaller(windows, slice(0, 6), 0.6)


def trembling(windows: Floats) -> Floats:
    """A tremor of 5 Hz and 300 mg on ankle and leg, within the band of freezing (3 to 8 Hz)."""
    time_s = np.arange(windows.shape[1]) / SAMPLE_RATE_HZ
    phase = np.random.default_rng(5).uniform(0, 2 * np.pi, (len(windows), 1))
    tremor = 300 * np.sin(2 * np.pi * 5 * time_s + phase)
    changed: Floats = windows.copy()
    changed[..., 0:6] += tremor[..., np.newaxis].astype(np.float32)
    return changed


def slipped(windows: Floats) -> Floats:
    """The ankle's strap has turned by 40 degrees about the lateral axis."""
    turn = np.deg2rad(40)
    forward, vertical = windows[..., 0], windows[..., 1]
    changed: Floats = windows.copy()
    changed[..., 0] = np.cos(turn) * forward - np.sin(turn) * vertical
    changed[..., 1] = np.sin(turn) * forward + np.cos(turn) * vertical
    return changed


def stuck(windows: Floats) -> Floats:
    """The leg's sensor repeats its first sample."""
    changed: Floats = windows.copy()
    changed[..., LEG] = windows[:, :1, LEG]
    return changed


def hurried(longer: Floats, length: int) -> Floats:
    """The same steps `HURRY` times as fast.

    Args:
        longer: (n, at least HURRY * length, channels).
        length: of a window.
    """
    at = np.arange(length) * HURRY
    before = at.astype(np.int64)
    share = (at - before)[:, np.newaxis].astype(np.float32)
    mixed: Floats = longer[:, before] * (1 - share) + longer[:, before + 1] * share
    return mixed.astype(np.float32)


FAULTS: Final[Mapping[str, Callable[[Floats], Floats]]] = {
    "shuffling": shuffling,
    "limping": limping,
    "trembling": trembling,
    "slipped": slipped,
    "stuck": stuck,
}
"""Those that change a window in place of time; `hurried` needs a longer one."""
