"""Series steps against scipy, over windows of any length, size and offset.

Each oracle runs in float64. The tolerances are relative to the largest value
that goes into a result, since float32 in and out cannot do better than that.
"""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.preprocess import Pipeline
from edgeml.preprocess.spectral import WINDOWS

pytestmark = pytest.mark.workstation
signal = pytest.importorskip("scipy.signal")
stats = pytest.importorskip("scipy.stats")

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]

ROUNDED = 2e-7
"""Computed in float64 and rounded once to float32."""
SUMMED = 4e-6
"""Float32 sums of up to a hundred products."""


@st.composite
def series(draw: st.DrawFn, least: int = 2, most: int = 200) -> Floats:
    """A window of noise around an offset, its size from a microvolt to a kilometre."""
    rows, channels = draw(st.integers(least, most)), draw(st.integers(1, 4))
    size = draw(st.sampled_from([1e-6, 1.0, 1e3]))
    offset = draw(st.sampled_from([0.0, 9.80665, -100.0]))
    noise = np.random.default_rng(draw(st.integers(0, 1 << 32))).normal(size=(rows, channels))
    return ((noise + offset) * size).astype(np.float32)


def _apply(step: dict[str, Any], window: Floats, hz: float | None = None) -> Floats:
    return Pipeline.from_steps([step], window.shape, hz)(window)


def _check(result: Floats, expected: Wide, tolerance: float, scale: float) -> None:
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance * scale)


@settings(deadline=None)
@given(window=series(), method=st.sampled_from(["linear", "constant"]))
def test_detrend_is_scipys(window: Floats, method: str) -> None:
    result = _apply({"step": "detrend", "method": method}, window)
    expected = signal.detrend(window.astype(np.float64), axis=0, type=method)
    _check(result, expected, ROUNDED, float(np.abs(window).max()) * 1e-5)


@settings(deadline=None)
@given(window=series(), order=st.integers(1, 8), data=st.data())
def test_filters_are_scipys_second_order_sections_from_their_steady_state(
    window: Floats, order: int, data: st.DataObject
) -> None:
    hz = 100.0
    low, high = sorted(
        data.draw(st.lists(st.floats(0.05, 49.9), min_size=2, max_size=2).filter(_are_apart))
    )
    kinds = [
        ({"step": "lowpass", "cutoff_hz": low}, "lowpass", low),
        ({"step": "highpass", "cutoff_hz": low}, "highpass", low),
        ({"step": "bandpass", "low_hz": low, "high_hz": high}, "bandpass", (low, high)),
    ]
    for step, kind, edges in kinds:
        result = _apply({**step, "order": order}, window, hz)
        sections = signal.butter(order, edges, kind, fs=hz, output="sos")
        start = signal.sosfilt_zi(sections)[:, :, None] * window[0].astype(np.float64)
        expected, _ = signal.sosfilt(sections, window.astype(np.float64), axis=0, zi=start)
        _check(result, expected, ROUNDED, float(np.abs(window).max()) * 0.1)


def _are_apart(edges: list[float]) -> bool:
    return abs(edges[1] - edges[0]) > 0.05


@settings(deadline=None, max_examples=60)
@given(window=series(most=120), up=st.integers(1, 12), down=st.integers(1, 12))
def test_resample_is_scipys_polyphase_filter_with_the_border_held(
    window: Floats, up: int, down: int
) -> None:
    result = _apply({"step": "resample", "rate_hz": 60.0 * up / down}, window, 60.0)
    expected = signal.resample_poly(window.astype(np.float64), up, down, axis=0, padtype="edge")
    _check(result, expected, SUMMED, float(np.abs(window).max()))


@settings(deadline=None)
@given(window=series(), name=st.sampled_from(WINDOWS), periodic=st.booleans())
def test_taper_is_scipys_window(window: Floats, name: str, periodic: bool) -> None:
    result = _apply({"step": "taper", "window": name, "periodic": periodic}, window)
    known_as = "boxcar" if name == "rectangular" else name
    values = signal.get_window(known_as, len(window), fftbins=periodic)
    _check(result, window * values[:, None], ROUNDED, float(np.abs(window).max()))


@settings(deadline=None)
@given(window=series(), extra=st.integers(0, 70))
def test_rfft_is_scipys(window: Floats, extra: int) -> None:
    fft = pytest.importorskip("scipy.fft")
    n_fft = len(window) + extra
    expected = np.abs(fft.rfft(window.astype(np.float64), n_fft, axis=0))
    magnitude = _apply({"step": "rfft", "n_fft": n_fft}, window)
    power = _apply({"step": "rfft", "n_fft": n_fft, "output": "power"}, window)
    _check(magnitude, expected, ROUNDED, float(expected.max()) * 1e-5)
    _check(power, expected**2, ROUNDED, float(expected.max()) ** 2 * 1e-5)


@settings(deadline=None)
@given(window=series(least=32), data=st.data())
def test_spectrogram_is_scipys_without_detrending(window: Floats, data: st.DataObject) -> None:
    frame = data.draw(st.integers(2, 32))
    hop, n_fft = data.draw(st.integers(1, frame)), data.draw(st.integers(frame, 64))
    name = data.draw(st.sampled_from(["hann", "hamming", "blackman"]))
    step = {"step": "spectrogram", "frame": frame, "hop": hop, "n_fft": n_fft, "window": name}
    result = _apply({**step, "output": "power"}, window)
    _, _, expected = signal.spectrogram(
        window.astype(np.float64), axis=0, window=name, nperseg=frame, noverlap=frame - hop,
        nfft=n_fft, detrend=False, scaling="spectrum", mode="complex",
    )  # fmt: skip
    unscaled = expected * signal.get_window(name, frame).sum()
    power = np.moveaxis(np.abs(unscaled) ** 2, (0, 1, 2), (1, 2, 0))
    _check(result, power, ROUNDED, float(power.max()) * 1e-5)
    magnitude = _apply(step, window)
    _check(magnitude, np.sqrt(power), ROUNDED, float(np.sqrt(power.max())) * 1e-5)


@settings(deadline=None)
@given(window=series(least=3))
def test_statistics_are_numpys_and_scipys(window: Floats) -> None:
    names = ["mean", "std", "min", "max", "rms", "peak", "crest", "skew", "kurtosis"]
    result = _apply({"step": "statistics", "features": names}, window)
    wide = window.astype(np.float64)
    rms = np.sqrt(np.mean(wide**2, axis=0))
    expected = [
        wide.mean(axis=0), wide.std(axis=0), wide.min(axis=0), wide.max(axis=0), rms,
        np.abs(wide).max(axis=0), np.abs(wide).max(axis=0) / rms,
        stats.skew(wide, axis=0), stats.kurtosis(wide, axis=0),
    ]  # fmt: skip
    for row, values in zip(result, expected, strict=True):
        _check(row, values, ROUNDED, float(np.abs(values).max()) * 1e-5 + 1e-9)


@settings(deadline=None)
@given(window=series(least=8), data=st.data())
def test_band_powers_are_sums_of_scipys_periodogram_and_add_up_to_the_mean_square(
    window: Floats, data: st.DataObject
) -> None:
    hz = 64.0
    edge = data.draw(st.floats(hz / 8, hz / 4))
    bands = [[0, edge], [edge, hz / 2]]
    result = _apply({"step": "statistics", "features": ["rms"], "bands_hz": bands}, window, hz)
    frequencies, power = signal.periodogram(
        window.astype(np.float64), hz, axis=0, detrend=False, scaling="spectrum"
    )
    for row, mask in zip(result[1:], (frequencies < edge, frequencies >= edge), strict=True):
        _check(row, power[mask].sum(axis=0), ROUNDED, float(power.max()) * 1e-6)
    np.testing.assert_allclose(result[1:].sum(axis=0), result[0] ** 2, rtol=1e-6)


@pytest.mark.parametrize("method", ["skew", "kurtosis"])
def test_where_scipy_gives_nan_the_statistics_are_zero(method: str) -> None:
    window = np.full((20, 1), 0.1, dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert np.isnan(getattr(stats, method)(window, axis=0)).all()
    assert _apply({"step": "statistics", "features": [method]}, window) == 0
