"""Summarises each channel over the window as a column of features.

What is undefined for a channel that never changes, or is silent, is defined
here so that no window yields NaN: skew and kurtosis of a constant channel are
0, and the crest factor of silence is 0. Float64 inside.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgeml.arrays import Wide
from edgeml.errors import PreprocessError
from edgeml.jsonread import Fields
from edgeml.manifest import MAX_ELEMENTS
from edgeml.preprocess.params import known, rate
from edgeml.preprocess.spectral import as_columns, as_rows
from edgeml.preprocess.stage import Array, Signal, Stage, signal


def statistics(fields: Fields, given: Signal) -> Stage:
    """`features`, by name and in order, then the power in each band: (features, channels).

    `features`: of FEATURES, each over the channel's rows. `bands_hz`: [low, high]
    pairs; a band's power is its share of the mean square by the periodogram without a
    taper, over low <= f < high, and f = half the rate counts to a band that ends
    there. Bands that cover all frequencies add up to rms squared.
    """
    names = [
        known(f"{fields.path}.features", name, tuple(FEATURES)) for name in fields.texts("features")
    ]
    bands = _bands(fields, given)
    if not names and not len(bands):
        raise PreprocessError(f"{fields.path} needs features, bands_hz or both")
    output = signal(fields, (len(names) + len(bands), *given.shape[1:]))
    rank, count = len(given.shape), len(names)

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        rows = as_columns(x, rank)
        moments = Moments.of(rows)
        y = np.empty((*rows.shape[:-1], count + len(bands)))
        for i, name in enumerate(names):
            y[..., i] = FEATURES[name](moments)
        if len(bands):
            y[..., count:] = np.matmul(periodogram(rows), bands.T)
        return as_rows(y, x, rank)

    return Stage(output, run)


@dataclass(frozen=True, slots=True)
class Moments:
    """What features share: the rows (..., n), and over n their mean, deviations and variance.

    The mean of equal float32 values is exact in float64: a constant channel has
    deviations of exactly zero.
    """

    rows: Wide
    mean: Wide
    deviations: Wide
    variance: Wide

    @classmethod
    def of(cls, rows: Wide) -> "Moments":
        """Of float64 (..., n)."""
        mean = _mean(rows)
        deviations = rows - mean[..., None]
        return cls(rows, mean, deviations, _mean(np.square(deviations)))

    def standardised(self, power: int) -> Wide:
        """The mean of a power of (row - mean) / std; 0 for a constant channel."""
        std = np.sqrt(self.variance)
        np.copyto(std, np.inf, where=std == 0)
        score = self.deviations / std[..., None]
        product = score * score
        for _ in range(power - 2):
            product *= score
        return _mean(product)


def _mean(rows: Wide) -> Wide:
    mean: Wide = np.add.reduce(rows, -1) / rows.shape[-1]
    return mean


def _min(m: Moments) -> Wide:
    low: Wide = np.minimum.reduce(m.rows, -1)
    return low


def _max(m: Moments) -> Wide:
    high: Wide = np.maximum.reduce(m.rows, -1)
    return high


def _rms(m: Moments) -> Wide:
    return np.sqrt(_mean(np.square(m.rows)))


def _peak(m: Moments) -> Wide:
    return np.maximum(-_min(m), _max(m))


def _crest(m: Moments) -> Wide:
    rms = _rms(m)
    np.copyto(rms, np.inf, where=rms == 0)
    crest: Wide = _peak(m) / rms
    return crest


def _kurtosis(m: Moments) -> Wide:
    return np.where(m.variance == 0, 0.0, m.standardised(4) - 3.0)


def _zero_crossings(m: Moments) -> Wide:
    below = m.rows < 0
    crossings: Wide = np.add.reduce(below[..., 1:] != below[..., :-1], -1, dtype=np.float64)
    return crossings


FEATURES: Final[Mapping[str, Callable[[Moments], Wide]]] = {
    "mean": lambda m: m.mean,
    "std": lambda m: np.sqrt(m.variance),
    "min": _min,
    "max": _max,
    "rms": _rms,
    "peak": _peak,
    "crest": _crest,
    "skew": lambda m: m.standardised(3),
    "kurtosis": _kurtosis,
    "zero_crossings": _zero_crossings,
}
"""std over n; peak the largest absolute value; crest peak / rms; skew and kurtosis the biased
moments, kurtosis less 3; zero_crossings how often the sign changes, 0 counting as positive."""


def periodogram(rows: Wide) -> Wide:
    """The share of each frequency in the mean square: (..., n) to (..., n // 2 + 1)."""
    n = rows.shape[-1]
    transformed = np.fft.rfft(rows, axis=-1)
    power: Wide = np.square(transformed.real) + np.square(transformed.imag)
    power *= 2 / n**2
    power[..., 0] /= 2
    if n % 2 == 0:
        power[..., -1] /= 2
    return power


def _bands(fields: Fields, given: Signal) -> Wide:
    """Ones where a bin belongs to a band: float64 (bands, bins)."""
    rows = given.shape[0]
    pairs = fields.items("bands_hz")
    if not pairs:
        return np.empty((0, rows // 2 + 1))
    hz = rate(fields, given)
    if len(pairs) * (rows // 2 + 1) > MAX_ELEMENTS:
        raise PreprocessError(
            f"{fields.path}.bands_hz holds {len(pairs)} bands, too many for {rows} rows; give "
            "fewer bands"
        )
    hertz = np.arange(rows // 2 + 1) * (hz / rows)
    masks = []
    for i, pair in enumerate(pairs):
        if not _is_band(pair, hz):
            raise PreprocessError(
                f"{fields.path}.bands_hz[{i}] is {pair!r}; it should be [low, high] within "
                f"0 to {hz / 2} Hz"
            )
        low, high = pair
        mask = (hertz >= low) & (hertz < high)
        mask[-1] |= rows % 2 == 0 and high == hz / 2
        if not mask.any():
            raise PreprocessError(
                f"{fields.path}.bands_hz[{i}] is {pair!r}; no frequency of {rows} rows lies in it "
                f"(they are {hz / rows:g} Hz apart)"
            )
        masks.append(mask)
    return np.array(masks, dtype=np.float64)


def _is_band(pair: object, hz: float) -> bool:
    if not isinstance(pair, list) or len(pair) != 2:
        return False
    low, high = pair
    numbers = all(isinstance(edge, (int, float)) and not isinstance(edge, bool) for edge in pair)
    return numbers and 0 <= low < high <= hz / 2
