"""Writes golden.json: a few numbers of each oracle, for devices that have none.

Run by hand, on a workstation, where a step or an oracle changes:

    pip install numpy scipy librosa tensorflow
    python tests/unit/preprocess/make_golden.py

The windows are made of whole numbers and one division (`window`), so that any
machine makes the same ones.
"""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Wide = npt.NDArray[np.float64]


def window(shape: list[int]) -> npt.NDArray[np.float32]:
    """Multiples of 1/64 between about -3 and 13, without a visible pattern."""
    count = int(np.prod(shape))
    steps = (np.arange(1, count + 1, dtype=np.int64) ** 2 * 7919 + 331) % 1009
    return ((steps - 200) / 64).astype(np.float32).reshape(shape)


def row(
    oracle: str,
    compute: Callable[[Wide], Any],
    shape: list[int],
    hz: float | None = None,
    **step: Any,
) -> dict[str, Any]:
    """One table: a step, its window, and what the oracle computes of it in float64."""
    expected = np.asarray(compute(window(shape).astype(np.float64)), dtype=np.float64)
    return {
        "oracle": oracle,
        "step": step,
        "shape": shape,
        "sample_rate_hz": hz,
        "gives": list(expected.shape),
        "values": [float(f"{value:.9g}") for value in expected.ravel()],
    }


def of_scipy() -> list[dict[str, Any]]:
    """Filters, resampling, tapers and statistics."""
    signal, stats = import_module("scipy.signal"), import_module("scipy.stats")

    def butter(order: int, kind: str, edges: float | tuple[float, float]) -> Callable[[Wide], Any]:
        sections = signal.butter(order, edges, kind, fs=50.0, output="sos")
        start = signal.sosfilt_zi(sections)[:, :, None]
        return lambda x: signal.sosfilt(sections, x, axis=0, zi=start * x[0])[0]

    def polyphase(up: int, down: int) -> Callable[[Wide], Any]:
        return lambda x: signal.resample_poly(x, up, down, axis=0, padtype="edge")

    def bands(x: Wide) -> Any:
        hertz, power = signal.periodogram(x[:, 0], 50.0, detrend=False, scaling="spectrum")
        return [[power[hertz < 10].sum()], [power[hertz >= 10].sum()]]

    def taper(x: Wide) -> Any:
        return x * signal.get_window("blackman", len(x))[:, None]

    few, many = [12, 2], [20, 2]
    low, band = {"cutoff_hz": 5, "order": 4}, {"low_hz": 1, "high_hz": 9, "order": 3}
    return [
        row("scipy", lambda x: signal.detrend(x, axis=0), [9, 2], step="detrend"),
        row("scipy", butter(4, "lowpass", 5), few, 50.0, step="lowpass", **low),
        row("scipy", butter(4, "highpass", 5), few, 50.0, step="highpass", **low),
        row("scipy", butter(3, "bandpass", (1, 9)), few, 50.0, step="bandpass", **band),
        row("scipy", polyphase(2, 5), many, 50.0, step="resample", rate_hz=20),
        row("scipy", polyphase(3, 2), few, 50.0, step="resample", rate_hz=75),
        row("scipy", taper, [8, 1], step="taper", window="blackman"),
        row("scipy", lambda x: [stats.skew(x)], many, step="statistics", features=["skew"]),
        row("scipy", lambda x: [stats.kurtosis(x)], many, step="statistics", features=["kurtosis"]),
        row("scipy", bands, [10, 1], 50.0, step="statistics", bands_hz=[[0, 10], [10, 25]]),
    ]


def of_numpy() -> list[dict[str, Any]]:
    """What numpy itself defines."""

    def moments(x: Wide) -> Any:
        return [x.mean(axis=0), x.std(axis=0), np.sqrt((x**2).mean(axis=0))]

    features = ["mean", "std", "rms"]
    return [
        row("numpy", lambda x: np.abs(np.fft.rfft(x, axis=0)), [9, 2], step="rfft"),
        row("numpy", moments, [15, 2], step="statistics", features=features),
    ]


def of_tensorflow() -> list[dict[str, Any]]:
    """Mel features and resizing."""
    tf = import_module("tensorflow")

    def stft(x: Wide) -> Any:
        return tf.abs(tf.signal.stft(tf.constant(x), 64, 40, 64))

    def log_mel(x: Wide) -> Any:
        weights = tf.signal.linear_to_mel_weight_matrix(6, 33, 8000.0, 100.0, 3800.0, tf.float64)
        return tf.math.log(tf.matmul(stft(x) ** 2, weights) + 1e-6)

    def mfcc(x: Wide) -> Any:
        return tf.signal.mfccs_from_log_mel_spectrograms(log_mel(x))[..., :4]

    def resize(method: str) -> Callable[[Wide], Any]:
        return lambda x: tf.image.resize(x.astype(np.float32), (3, 4), method)

    cut = {"frame": 64, "hop": 40}
    mel = {**cut, "mels": 6, "low_hz": 100, "high_hz": 3800}
    small: dict[str, Any] = {"step": "resize", "height": 3, "width": 4}
    return [
        row("tensorflow", stft, [150], step="spectrogram", **cut),
        row("tensorflow", log_mel, [150], 8000.0, step="log_mel", **mel),
        row("tensorflow", mfcc, [150], 8000.0, step="mfcc", **mel, coefficients=4),
        row("tensorflow", resize("nearest"), [9, 8, 1], **small, method="nearest"),
        row("tensorflow", resize("bilinear"), [5, 6, 1], **small, method="bilinear"),
        row("tensorflow", resize("area"), [5, 6, 1], **small, method="area"),
    ]


def of_librosa() -> list[dict[str, Any]]:
    """The other mel convention, and sign changes."""
    librosa = import_module("librosa")

    def log_mel(x: Wide) -> Any:
        power = np.abs(librosa.stft(x, n_fft=128, hop_length=50, center=False)) ** 2
        weights = librosa.filters.mel(sr=8000, n_fft=128, n_mels=6, dtype=np.float64)
        return np.log(weights @ power + 1e-6).T

    def crossings(x: Wide) -> Any:
        return [librosa.zero_crossings(x, pad=False).sum()]

    mel = {"frame": 128, "hop": 50, "mels": 6, "filters": "slaney"}
    return [
        row("librosa", log_mel, [300], 8000.0, step="log_mel", **mel),
        row("librosa", crossings, [40], step="statistics", features=["zero_crossings"]),
    ]


def main() -> None:
    """Write golden.json beside this file."""
    rows = [*of_scipy(), *of_numpy(), *of_tensorflow(), *of_librosa()]
    text = ",\n".join(json.dumps(row) for row in rows)
    Path(__file__).with_name("golden.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
