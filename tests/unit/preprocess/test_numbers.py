"""Numbers that any device must get: formulas to the bit, and golden values of the oracles.

golden.json is written by make_golden.py, on a workstation that has the oracles.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.preprocess import Pipeline

Floats = npt.NDArray[np.float32]

GOLDEN: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("golden.json").read_text("utf-8")
)
TOLERANCE = 4e-6
"""Relative to the largest value of the table: float32, after sums of up to a hundred products."""

seeds = st.integers(0, 1 << 32)
sizes = st.sampled_from([1e-3, 1.0, 1e4])


def _golden_window(shape: list[int]) -> Floats:
    steps = (np.arange(1, int(np.prod(shape)) + 1, dtype=np.int64) ** 2 * 7919 + 331) % 1009
    return ((steps - 200) / 64).astype(np.float32).reshape(shape)


def _apply(step: dict[str, Any], window: Any, hz: float | None = None) -> Floats:
    return Pipeline.from_steps([step], np.shape(window), hz)(window)


def _series(seed: int, size: float = 1.0, rows: int = 40) -> Floats:
    noise = np.random.default_rng(seed).normal(1.0, 3.0, (rows, 3))
    return (noise * size).astype(np.float32)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda g: f"{g['oracle']} {json.dumps(g['step'])}")
def test_a_step_gives_what_its_oracle_gave_on_a_workstation(golden: dict[str, Any]) -> None:
    result = _apply(golden["step"], _golden_window(golden["shape"]), golden["sample_rate_hz"])
    expected = np.array(golden["values"]).reshape(golden["gives"])
    assert result.shape == expected.shape
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(result, expected, rtol=TOLERANCE, atol=TOLERANCE * scale)


@settings(deadline=None)
@given(seed=seeds, size=sizes)
def test_elementwise_steps_are_their_float32_formulas_to_the_bit(seed: int, size: float) -> None:
    x = _series(seed, size)
    mean = np.array([0.1, -9.80665, 3e3])
    std = np.array([1e-3, 7.0, 0.3])
    by = (1.0 / std).astype(np.float32)
    np.testing.assert_array_equal(
        _apply({"step": "standardize", "mean": mean.tolist(), "std": std.tolist()}, x),
        (x - mean.astype(np.float32)) * by,
    )
    np.testing.assert_array_equal(
        _apply({"step": "scale", "factor": 0.1, "offset": [1, 0.3, 0]}, x),
        x * np.float32(0.1) + np.array([1, 0.3, 0], dtype=np.float32),
    )
    np.testing.assert_array_equal(
        _apply({"step": "clip", "low": -1, "high": [1, 2, 0.1]}, x),
        np.clip(x, np.float32(-1), np.array([1, 2, 0.1], dtype=np.float32)),
    )
    np.testing.assert_array_equal(_apply({"step": "difference", "lag": 2}, x), x[2:] - x[:-2])


@settings(deadline=None)
@given(seed=seeds, std=st.floats(1e-3, 1e3))
def test_standardize_is_within_two_roundings_of_the_division(seed: int, std: float) -> None:
    x = _series(seed)
    result = _apply({"step": "standardize", "mean": 0.5, "std": std}, x)
    expected = (x - np.float32(0.5)).astype(np.float64) / std
    np.testing.assert_allclose(result, expected, rtol=2e-7, atol=0)


@settings(deadline=None)
@given(seed=seeds, size=sizes)
def test_normalize_has_the_moments_and_bounds_that_its_method_names(seed: int, size: float) -> None:
    x = _series(seed, size)
    score = _apply({"step": "normalize"}, x).astype(np.float64)
    np.testing.assert_allclose(score.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(score.std(axis=0), 1, atol=1e-6)
    bounded = _apply({"step": "normalize", "method": "minmax", "scope": "window"}, x)
    assert bounded.min() == 0
    assert bounded.max() == 1
    peak = _apply({"step": "normalize", "method": "peak"}, x)
    np.testing.assert_array_equal(np.abs(peak).max(axis=0), 1)
    length = _apply({"step": "normalize", "method": "l2"}, x)
    np.testing.assert_allclose(np.sqrt(np.sum(np.square(length), axis=0)), 1, atol=1e-6)
    np.testing.assert_allclose(peak * np.abs(x).max(axis=0), x, rtol=2e-7)


@pytest.mark.parametrize("method", ["zscore", "minmax", "peak", "l2"])
def test_a_constant_channel_is_normalised_to_zeros_or_to_its_sign(method: str) -> None:
    window = np.array([[0.1, 0, -3]] * 7, dtype=np.float32)
    result = _apply({"step": "normalize", "method": method}, window)
    alone = {"zscore": [0, 0, 0], "minmax": [0, 0, 0], "peak": [1, 0, -1]}
    expected = alone.get(method, [7**-0.5, 0, -(7**-0.5)])
    np.testing.assert_allclose(result, [expected] * 7, rtol=1e-7)


@settings(deadline=None)
@given(seed=seeds, size=st.sampled_from([1e-30, 1.0, 1e30]))
def test_magnitude_is_the_euclidean_length_where_float32_squares_would_overflow(
    seed: int, size: float
) -> None:
    x = _series(seed, size)
    expected = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(_apply({"step": "magnitude"}, x), expected, rtol=1e-7)
    both = _apply({"step": "magnitude", "groups": [[0, 1], [2]], "append": True}, x)
    np.testing.assert_array_equal(both[:, :3], x)
    np.testing.assert_array_equal(both[:, 4], np.abs(x[:, 2]))


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(3, 8), st.integers(3, 8), st.integers(1, 3)),
    before=st.integers(0, 2),
    after=st.integers(0, 2),
    mode=st.sampled_from(["constant", "edge", "reflect"]),
)
def test_pad_is_numpys(shape: tuple[int, ...], before: int, after: int, mode: Any) -> None:
    x = _golden_window(list(shape))
    widths = [[before, after], [after, before]]
    expected = np.pad(x, [(before, after), (after, before), (0, 0)], mode=mode)
    np.testing.assert_array_equal(
        _apply({"step": "pad", "widths": widths, "mode": mode}, x), expected
    )


def test_steps_that_move_elements_put_them_where_numpy_does() -> None:
    x = _golden_window([6, 5, 3])
    np.testing.assert_array_equal(
        _apply({"step": "select", "channels": [2, 0, 2]}, x), x[..., [2, 0, 2]]
    )
    np.testing.assert_array_equal(
        _apply({"step": "reshape", "shape": [10, -1]}, x), x.reshape(10, 9)
    )
    np.testing.assert_array_equal(
        _apply({"step": "layout", "from": "hwc", "to": "chw"}, x), x.transpose(2, 0, 1)
    )
    np.testing.assert_array_equal(_apply({"step": "crop", "height": 3, "width": 2}, x), x[1:4, 1:3])
    np.testing.assert_array_equal(
        _apply({"step": "crop", "height": 3, "width": 2, "top": 3, "left": 0}, x), x[3:, :2]
    )
    np.testing.assert_array_equal(
        _apply({"step": "color_order", "from": "bgr", "to": "rgb"}, x), x[..., ::-1]
    )


def test_gray_weighs_red_green_and_blue_in_either_order() -> None:
    rgb = np.zeros((1, 3, 3), dtype=np.float32)
    rgb[0, [0, 1, 2], [0, 1, 2]] = 1000
    for order, image in (("rgb", rgb), ("bgr", rgb[..., ::-1])):
        gray = _apply({"step": "color_order", "from": order, "to": "gray"}, image)
        np.testing.assert_allclose(gray[0, :, 0], [299, 587, 114], rtol=1e-7)


def test_zero_crossings_count_changes_of_sign_with_zero_as_positive() -> None:
    window = np.array([1, -1, 0, 2, -3, -4, -0.0, 5], dtype=np.float32)
    assert _apply({"step": "statistics", "features": ["zero_crossings"]}, window) == 4


def test_silence_has_no_crest_and_a_constant_a_crest_of_one() -> None:
    window = np.array([[0, 0.1]] * 9, dtype=np.float32)
    np.testing.assert_allclose(
        _apply({"step": "statistics", "features": ["crest"]}, window), [[0, 1]], rtol=1e-7
    )


def test_an_enlarged_image_keeps_the_middle_of_its_pixels_in_place() -> None:
    """The half-pixel convention: a ramp stays the same ramp, but for its held ends."""
    ramp = np.arange(4, dtype=np.float32).reshape(1, 4)
    wide = _apply({"step": "resize", "height": 1, "width": 8}, ramp)
    np.testing.assert_array_equal(wide, [[0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]])


def test_resampling_keeps_a_slow_wave_in_place() -> None:
    time = np.arange(200) / 100
    wave = np.sin(2 * np.pi * 2 * time).astype(np.float32)
    result = _apply({"step": "resample", "rate_hz": 64}, wave, 100.0)
    expected = np.sin(2 * np.pi * 2 * np.arange(128) / 64)
    np.testing.assert_allclose(result[10:-10], expected[10:-10], atol=2e-3)
