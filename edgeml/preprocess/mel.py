"""Log-mel spectra and MFCC, in the two conventions that models are trained with.

`filters` names the convention. htk: triangles straight over the mel scale
2595 log10(1 + f / 700), each of height 1, as tf.signal has them. slaney:
triangles straight over hertz on Slaney's scale, linear below 1 kHz and
logarithmic above, each of area 1, as librosa has them (Slaney, 1998, Auditory
Toolbox).
"""

from dataclasses import dataclass

import numpy as np

from edgeml.arrays import Wide
from edgeml.errors import PreprocessError
from edgeml.jsonread import Fields
from edgeml.preprocess.params import choice, rate, whole
from edgeml.preprocess.spectral import SPECTRA, Frames, as_columns, as_rows
from edgeml.preprocess.stage import Array, Signal, Stage, signal

FILTERS = ("htk", "slaney")
MAX_MELS = 512

_SLANEY_HZ_PER_MEL = 200 / 3
_SLANEY_LOG_FROM_HZ = 1000.0
_SLANEY_LOG_STEP = np.log(6.4) / 27


def log_mel(fields: Fields, given: Signal) -> Stage:
    """The logarithm of the energy in each mel band of each frame: (frames, mels, channels).

    ln(offset + sum over bins of weight * spectrum). `frame`, `hop`, `n_fft` and
    `window` as for spectrogram; `spectrum` power (the default) or magnitude; `mels`
    bands from `low_hz` (0) to `high_hz` (half the rate) by `filters` (htk); `offset` 1e-6.
    """
    mel = _Mel.read(fields, given)
    frames = mel.frames
    output = signal(
        fields, (frames.count, mel.weights.shape[1], *given.shape[1:]), frames.rate_hz(given)
    )
    rank = len(given.shape)

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        return as_rows(mel.log_energies(as_columns(x, rank)), x, rank)

    return Stage(output, run)


def mfcc(fields: Fields, given: Signal) -> Stage:
    """Mel-frequency cepstral coefficients: the cosine transform (DCT-II) of log_mel.

    `coefficients` (13 if left out), from 0; each times sqrt(2 / mels), which is the
    scale of HTK and of tf.signal. The rest as for log_mel. Gives (frames,
    coefficients, channels).
    """
    mel = _Mel.read(fields, given)
    frames, mels = mel.frames, mel.weights.shape[1]
    count = whole(fields, "coefficients", 1, mels, default=min(13, mels))
    cosines = cosine_matrix(mels, count)
    output = signal(fields, (frames.count, count, *given.shape[1:]), frames.rate_hz(given))
    rank = len(given.shape)

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        return as_rows(np.matmul(mel.log_energies(as_columns(x, rank)), cosines), x, rank)

    return Stage(output, run)


def mel_weights(
    filters: str, mels: int, n_fft: int, sample_rate_hz: float, low_hz: float, high_hz: float
) -> Wide:
    """The weight of each bin in each mel band, float64 (n_fft // 2 + 1, mels).

    A band narrower than the space between two bins may hold none and then has no weight.
    """
    hertz: Wide = np.arange(n_fft // 2 + 1, dtype=np.float64) * (sample_rate_hz / n_fft)
    if filters == "htk":
        return _triangles(hz_to_htk(hertz), _evenly(hz_to_htk(low_hz), hz_to_htk(high_hz), mels))
    edges = slaney_to_hz(_evenly(hz_to_slaney(low_hz), hz_to_slaney(high_hz), mels))
    return _triangles(hertz, edges) * (2 / (edges[2:] - edges[:-2]))


def hz_to_htk(hertz: Wide | float) -> Wide:
    """Hertz to mel, as HTK has it: 2595 log10(1 + f / 700)."""
    mel: Wide = 2595 * np.log10(1 + np.asarray(hertz, dtype=np.float64) / 700)
    return mel


def hz_to_slaney(hertz: Wide | float) -> Wide:
    """Hertz to Slaney's mel: 3 / 200 a hertz below 1 kHz, 27 to a factor of 6.4 above."""
    f = np.asarray(hertz, dtype=np.float64)
    above = np.log(np.maximum(f, _SLANEY_LOG_FROM_HZ) / _SLANEY_LOG_FROM_HZ) / _SLANEY_LOG_STEP
    mel: Wide = np.minimum(f, _SLANEY_LOG_FROM_HZ) / _SLANEY_HZ_PER_MEL + above
    return mel


def slaney_to_hz(mel: Wide) -> Wide:
    """The inverse of `hz_to_slaney`."""
    knee = _SLANEY_LOG_FROM_HZ / _SLANEY_HZ_PER_MEL
    hertz: Wide = np.minimum(mel, knee) * _SLANEY_HZ_PER_MEL
    hertz *= np.exp(np.maximum(mel - knee, 0) * _SLANEY_LOG_STEP)
    return hertz


def cosine_matrix(mels: int, count: int) -> Wide:
    """The DCT-II that turns `mels` logarithms into `count` coefficients, float64 (mels, count)."""
    angle = np.pi / mels * np.outer(np.arange(mels) + 0.5, np.arange(count))
    scaled: Wide = np.cos(angle) * np.sqrt(2 / mels)
    return scaled


@dataclass(frozen=True, slots=True)
class _Mel:
    frames: Frames
    weights: Wide
    spectrum: str
    offset: float

    @classmethod
    def read(cls, fields: Fields, given: Signal) -> "_Mel":
        hz = rate(fields, given)
        frames = Frames.read(fields, given)
        mels = whole(fields, "mels", 1, MAX_MELS)
        low = fields.number("low_hz", default=0.0)
        high = fields.number("high_hz", default=hz / 2)
        if not 0 <= low < high <= hz / 2:
            raise PreprocessError(
                f"{fields.path} asks for {low} to {high} Hz; at {hz} samples a second the band "
                f"should lie within 0 to {hz / 2}"
            )
        offset = fields.number("offset", default=1e-6)
        if offset < np.finfo(np.float32).tiny:
            raise PreprocessError(f"{fields.path}.offset is {offset}; silence needs one above zero")
        filters = choice(fields, "filters", FILTERS, default="htk")
        spectrum = choice(fields, "spectrum", SPECTRA, default="power")
        weights = mel_weights(filters, mels, frames.n_fft, hz, low, high)
        return cls(frames, weights, spectrum, offset)

    def log_energies(self, columns: Wide) -> Wide:
        """(..., columns, rows) to (..., columns, frames, mels)."""
        energy = np.matmul(self.frames.spectra(columns, self.spectrum), self.weights)
        energy += self.offset
        logarithm: Wide = np.log(energy, energy)
        return logarithm


def _evenly(low: Wide, high: Wide, mels: int) -> Wide:
    """The edges and centres of the bands, evenly over a mel scale: (mels + 2,)."""
    return np.asarray(np.linspace(low, high, mels + 2), dtype=np.float64)


def _triangles(position: Wide, edges: Wide) -> Wide:
    """Height 1 at each inner edge, 0 at its neighbours, straight in between."""
    widths = np.diff(edges)
    rising = (position[:, None] - edges[:-2]) / widths[:-1]
    falling = (edges[2:] - position[:, None]) / widths[1:]
    triangles: Wide = np.maximum(0.0, np.minimum(rising, falling))
    return triangles
