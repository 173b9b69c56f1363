"""Filters: what they pass, and what they remember from window to window."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.errors import InputError
from edgeml.preprocess import Pipeline
from edgeml.preprocess.butterworth import bandpass_sections, highpass_sections, lowpass_sections

HZ = 50.0
Floats = npt.NDArray[np.float32]


def _pipeline(window: int, step: dict[str, Any], channels: int = 2) -> Pipeline:
    return Pipeline.from_steps([step], (window, channels), HZ)


def _lowpass(window: int, order: int = 4) -> Pipeline:
    return _pipeline(window, {"step": "lowpass", "cutoff_hz": 5, "order": order})


def _recording(rows: int, seed: int = 0) -> Floats:
    noise = np.random.default_rng(seed).normal(9.8, 2.0, (rows, 2))
    return noise.astype(np.float32)


def _gain(sections: npt.NDArray[np.float64], frequency: float) -> float:
    z = np.exp(-2j * np.pi * frequency * np.arange(3))
    return float(np.prod(np.abs((sections[:, :3] @ z) / (sections[:, 3:] @ z))))


orders = pytest.mark.parametrize("order", range(1, 9))


@orders
@pytest.mark.parametrize("edge", [1e-4, 0.003, 0.1, 0.37, 0.4999])
def test_a_filter_is_flat_where_it_passes_and_halves_the_power_at_its_edge(
    order: int, edge: float
) -> None:
    low, high = lowpass_sections(order, edge), highpass_sections(order, edge)
    assert _gain(low, 0.0) == pytest.approx(1.0, rel=1e-6)
    assert _gain(high, 0.5) == pytest.approx(1.0, rel=1e-6)
    for sections in (low, high):
        assert _gain(sections, edge) == pytest.approx(np.sqrt(0.5), rel=1e-6)


@orders
@pytest.mark.parametrize(
    ("first", "last"), [(1e-4, 2e-4), (0.01, 0.2), (0.1, 0.11), (1e-4, 0.4999)]
)
def test_a_bandpass_halves_the_power_at_both_edges(order: int, first: float, last: float) -> None:
    sections = bandpass_sections(order, first, last)
    assert _gain(sections, first) == pytest.approx(np.sqrt(0.5), rel=1e-6)
    assert _gain(sections, last) == pytest.approx(np.sqrt(0.5), rel=1e-6)
    assert _gain(sections, 0.0) < 1e-9
    assert _gain(sections, 0.5) < 1e-9


@orders
def test_every_pole_lies_inside_the_unit_circle(order: int) -> None:
    for sections in (
        lowpass_sections(order, 1e-4),
        highpass_sections(order, 0.4999),
        bandpass_sections(order, 1e-4, 2e-4),
    ):
        assert len(sections) == -(-order // 2) or len(sections) == order
        for section in sections:
            assert np.max(np.abs(np.roots(section[3:]))) < 1


def test_an_offset_passes_a_lowpass_and_never_shows_behind_a_highpass() -> None:
    window = np.full((100, 2), 9.80665, dtype=np.float32)
    np.testing.assert_array_equal(_lowpass(100)(window), window)
    high = _pipeline(100, {"step": "highpass", "cutoff_hz": 0.5, "order": 4})
    np.testing.assert_allclose(high(window), 0, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    window=st.integers(2, 300),
    stride=st.integers(1, 300),
    order=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
def test_overlapping_windows_show_one_filtering_of_the_whole_recording(
    window: int, stride: int, order: int, seed: int
) -> None:
    """Each row goes through the filter once, whatever the window and the stride.

    Tolerance: one float32 rounding, since blocks of another length round otherwise.
    """
    stride = min(stride, window)
    recording = _recording(window + 4 * stride, seed)
    at_once = _lowpass(len(recording), order)(recording)
    streamed = _lowpass(window, order).recording(recording, stride)
    for i, part in enumerate(streamed):
        expected = at_once[i * stride : i * stride + window]
        np.testing.assert_allclose(part, expected, rtol=2e-7, atol=0)


def test_a_window_without_new_is_complete_in_itself_and_leaves_the_stream_alone() -> None:
    recording, pipeline = _recording(150), _lowpass(100)
    alone = pipeline(recording[50:150])
    pipeline(recording[:100], new=50)
    np.testing.assert_array_equal(pipeline(recording[50:150]), alone)
    streamed = pipeline(recording[50:150], new=50)
    np.testing.assert_array_equal(streamed, _lowpass(100).recording(recording, 50)[1])
    assert np.abs(streamed - alone).max() > 0.01


def test_a_batch_is_of_windows_that_are_each_complete_in_themselves() -> None:
    pipeline, windows = _lowpass(100), _recording(400).reshape(4, 100, 2)
    pipeline(windows[0], new=100)
    for window, filtered in zip(windows, pipeline.batch(windows), strict=True):
        np.testing.assert_array_equal(filtered, _lowpass(100)(window))


def test_lost_rows_start_the_filter_anew() -> None:
    recording, pipeline = _recording(400), _lowpass(100)
    pipeline(recording[:100], new=50)
    after_a_gap = pipeline(recording[250:350], new=250)
    np.testing.assert_array_equal(after_a_gap, _lowpass(100)(recording[250:350]))
    following = pipeline(recording[300:400], new=50)
    np.testing.assert_array_equal(
        following, _lowpass(100).recording(recording[250:400], stride=50)[1]
    )


def test_reset_forgets_the_stream() -> None:
    recording, pipeline = _recording(200), _lowpass(100)
    pipeline(recording[:100], new=100)
    pipeline.reset()
    np.testing.assert_array_equal(
        pipeline(recording[100:], new=100), _lowpass(100)(recording[100:])
    )


def test_a_recording_leaves_a_stream_in_progress_alone() -> None:
    recording, pipeline, other = _recording(150), _lowpass(100), _lowpass(100)
    pipeline(recording[:100], new=50)
    other(recording[:100], new=50)
    pipeline.recording(_recording(500, seed=9), 10)
    np.testing.assert_array_equal(pipeline(recording[50:], new=50), other(recording[50:], new=50))


@pytest.mark.parametrize("new", [0, -1])
def test_a_window_brings_at_least_one_new_row(new: int) -> None:
    with pytest.raises(InputError, match="at least one new row"):
        _lowpass(100)(_recording(100), new=new)


def test_only_pipelines_with_a_filter_are_stateful() -> None:
    assert _lowpass(100).stateful
    assert not _pipeline(100, {"step": "detrend"}).stateful


def test_a_filter_sees_each_row_once_behind_steps_that_change_channels_and_lose_rows() -> None:
    steps: list[dict[str, Any]] = [
        {"step": "magnitude", "append": True},
        {"step": "difference"},
        {"step": "standardize", "mean": [0, 0, 1], "std": [1, 2, 3]},
        {"step": "highpass", "cutoff_hz": 1, "order": 2},
        {"step": "lowpass", "cutoff_hz": 10, "order": 3},
        {"step": "statistics", "features": ["rms", "max"]},
    ]
    recording = _recording(200)
    streamed = Pipeline.from_steps(steps, (80, 2), HZ).recording(recording, 30)
    at_once = Pipeline.from_steps(steps[:-1], (200, 2), HZ)(recording)
    summary = Pipeline.from_steps(steps[-1:], (79, 3), HZ)
    for i, features in enumerate(streamed):
        expected = summary(at_once[30 * i : 30 * i + 79])
        np.testing.assert_allclose(features, expected, rtol=1e-6)


def test_a_window_without_a_channel_axis_is_one_channel() -> None:
    recording = _recording(200)
    step = {"step": "bandpass", "low_hz": 1, "high_hz": 10}
    both = _pipeline(100, step).recording(recording, 40)
    one = Pipeline.from_steps([step], (100,), HZ).recording(recording[:, 1], 40)
    np.testing.assert_allclose(one, both[..., 1], rtol=2e-7, atol=1e-6)
