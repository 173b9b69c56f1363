"""Designs Butterworth filters as second-order sections, in numpy alone.

The analogue prototype's poles lie evenly on the left half of the unit circle.
They are moved to the wanted band and brought to discrete time by the bilinear
transform, with the band edges warped beforehand so that they land where asked
(Oppenheim and Schafer, Discrete-Time Signal Processing, chapter 7; Parks and
Burrus, Digital Filter Design, chapter 7). Sections keep high orders accurate
where one long polynomial would not.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.arrays import Wide

Poles = npt.NDArray[np.complex128]


def lowpass_sections(order: int, cutoff: float) -> Wide:
    """Half power at `cutoff`, given as a fraction of the sample rate, above 0 and below 0.5.

    Returns:
        float64 (sections, 6): b0, b1, b2, 1, a1, a2 each; a gain of 1 at 0 Hz.
    """
    warped = np.tan(np.pi * cutoff)
    return _sections(
        [_bilinear(group * warped) for group in _prototype(order)],
        [_polynomial(-np.ones(len(group))).tolist() for group in _prototype(order)],
        reference=0.0,
    )


def highpass_sections(order: int, cutoff: float) -> Wide:
    """As `lowpass_sections`, passing what is above; a gain of 1 at half the sample rate."""
    warped = np.tan(np.pi * cutoff)
    return _sections(
        [_bilinear(warped / group) for group in _prototype(order)],
        [_polynomial(np.ones(len(group))).tolist() for group in _prototype(order)],
        reference=0.5,
    )


def bandpass_sections(order: int, low: float, high: float) -> Wide:
    """Half power at `low` and `high`; `order` poles for each edge; a gain of 1 at the centre.

    Poles nearer -1 are paired with the zeros there and poles nearer 1 with those, so
    that in a wide band no section undoes what another did.
    """
    first, last = np.tan(np.pi * low), np.tan(np.pi * high)
    centre, half_width = np.sqrt(first * last), (last - first) / 2
    groups: list[Poles] = []
    for group in _prototype(order):
        wide = group * half_width
        root = np.sqrt(wide**2 - centre**2 + 0j)
        if len(group) == 1:
            groups.append(_bilinear(np.array([wide[0] + root[0], wide[0] - root[0]])))
            continue
        pair = (wide[0] + root[0], wide[0] - root[0])
        groups.extend(_bilinear(np.array([pole, np.conj(pole)])) for pole in pair)
    groups.sort(key=lambda poles: float(np.mean(poles.real)))
    few, one = order // 2, order % 2
    zeros = [[1.0, 2.0, 1.0]] * few + [[1.0, 0.0, -1.0]] * one + [[1.0, -2.0, 1.0]] * few
    return _sections(groups, zeros, reference=float(np.arctan(centre) / np.pi))


def _prototype(order: int) -> list[Poles]:
    """The poles of the prototype with its edge at 1, in conjugate pairs, and a real one if odd."""
    pairs = []
    for k in range(order // 2):
        pole = np.exp(1j * np.pi * (2 * k + order + 1) / (2 * order))
        pairs.append(np.array([pole, np.conj(pole)]))
    return [np.array([-1.0 + 0j]), *pairs] if order % 2 else pairs


def _bilinear(poles: Poles) -> Poles:
    moved: Poles = (1 + poles) / (1 - poles)
    return moved


def _sections(groups: list[Poles], zeros: list[list[float]], reference: float) -> Wide:
    """One section a group of poles, each with a gain of 1 at `reference` of the sample rate.

    The poles nearest the unit circle come last, so that no section rings into the others.
    """
    z = np.exp(-2j * np.pi * reference * np.arange(3))
    rows = []
    for poles, above in sorted(
        zip(groups, zeros, strict=True), key=lambda pair: float(np.max(np.abs(pair[0])))
    ):
        row = np.zeros(6)
        row[: len(above)] = above
        row[3 : 4 + len(poles)] = _polynomial(poles)
        row[:3] *= np.abs(row[3:] @ z) / np.abs(row[:3] @ z)
        rows.append(row)
    return np.array(rows)


def _polynomial(roots: npt.NDArray[Any]) -> Wide:
    """The real coefficients of the polynomial with these roots, the highest power first."""
    return np.asarray(np.poly(roots).real, dtype=np.float64)
