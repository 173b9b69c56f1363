"""Changes the sample rate of a series by a ratio of whole numbers.

A polyphase filter: the series at `up` times the rate, smoothed by a Kaiser-
windowed sinc that cuts at the lower of the two Nyquist frequencies, of which
only every `down`-th sample is ever worked out (Crochiere and Rabiner, 1983,
Multirate Digital Signal Processing). The border rows stand for what lies beyond
the window, so an offset such as gravity stays flat to the ends.
"""

from fractions import Fraction

import numpy as np

from edgeml.arrays import Wide
from edgeml.errors import PreprocessError
from edgeml.jsonread import Fields
from edgeml.preprocess.gather import Taps, weighted_sum
from edgeml.preprocess.params import rate
from edgeml.preprocess.stage import Array, Signal, Stage, signal

KAISER_BETA = 5.0
HALF_LENGTH = 10
"""Zero crossings of the sinc on each side of its middle."""
MAX_RATIO = 1000
MAX_WEIGHTS = 1 << 24


def resample(fields: Fields, given: Signal) -> Stage:
    """To `rate_hz`, from the rate at this step: ceil(rows * rate_hz / rate) rows.

    The two rates must be as whole numbers up to 1000. The numbers are those of
    scipy.signal.resample_poly with its own window and padtype="edge".
    """
    hz = rate(fields, given)
    wanted = fields.number("rate_hz")
    ratio = _ratio(fields, wanted, hz)
    rows = given.shape[0]
    count = -(-rows * ratio.numerator // ratio.denominator)
    output = signal(fields, (count, *given.shape[1:]), wanted)
    span = 2 * HALF_LENGTH * max(ratio.numerator, ratio.denominator) // ratio.numerator + 1
    if count * span > MAX_WEIGHTS:
        raise PreprocessError(
            f"{fields.path} would need {count * span} weights, more than {MAX_WEIGHTS}; resample "
            "shorter windows, or to a rate nearer the sensor's"
        )
    row = int(np.prod(given.shape[1:], dtype=np.int64))
    work = weighted_sum(polyphase_taps(rows, ratio.numerator, ratio.denominator), row)
    rank = len(given.shape)

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        return work(x.reshape(-1, rows, row)).reshape(x.shape[: x.ndim - rank] + output.shape)

    return Stage(output, run)


def polyphase_taps(rows: int, up: int, down: int) -> Taps:
    """The source rows and weights of each resampled row."""
    half = HALF_LENGTH * max(up, down)
    kernel = _smoother(half, max(up, down)) * up
    place = np.arange(-(-rows * up // down), dtype=np.intp) * down
    first = -((half - place) // up)
    index = first + np.arange(2 * half // up + 1, dtype=np.intp)[:, None]
    tap = place - index * up + half
    weight = np.where((tap >= 0) & (tap <= 2 * half), kernel[np.clip(tap, 0, 2 * half)], 0.0)
    return Taps(np.clip(index, 0, rows - 1), weight)


def _smoother(half: int, cut: int) -> Wide:
    """A low-pass of 2 * half + 1 taps, cutting at 1 / cut of the Nyquist frequency, of sum 1."""
    sinc = np.sinc(np.arange(-half, half + 1) / cut) * np.kaiser(2 * half + 1, KAISER_BETA)
    taps: Wide = sinc / np.sum(sinc)
    return taps


def _ratio(fields: Fields, wanted: float, hz: float) -> Fraction:
    if not wanted > 0:
        raise PreprocessError(f"{fields.path}.rate_hz is {wanted}; a rate is a positive number")
    ratio = Fraction(wanted / hz).limit_denominator(MAX_RATIO)
    exact = abs(float(ratio) * hz - wanted) <= 1e-9 * wanted
    if not exact or not 0 < ratio.numerator <= MAX_RATIO:
        raise PreprocessError(
            f"{fields.path}.rate_hz is {wanted}; from {hz} that is no ratio of whole numbers up to "
            f"{MAX_RATIO}"
        )
    return ratio
