"""Image steps against Pillow, where the two mean the same.

Pillow smooths before it shrinks, so its bilinear is an oracle for enlarging
only, and its box filter one for areas that are whole pixels.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.preprocess import Pipeline

pytestmark = pytest.mark.workstation
Image = pytest.importorskip("PIL.Image")

Floats = npt.NDArray[np.float32]

TOLERANCE = 5e-5
"""Of values up to 255, in float32: a few units in the last place."""

seeds = st.integers(0, 1 << 32)
sides = st.integers(1, 24)


def _image(height: int, width: int, seed: int, channels: tuple[int, ...] = ()) -> Floats:
    shape = (height, width, *channels)
    return np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32)


def _resize(image: Floats, height: int, width: int, method: str) -> Floats:
    step: dict[str, Any] = {"step": "resize", "height": height, "width": width, "method": method}
    return Pipeline.from_steps([step], image.shape)(image)


def _pillow(image: Floats, height: int, width: int, resampling: Any) -> Floats:
    return np.asarray(Image.fromarray(image).resize((width, height), resampling), dtype=np.float32)


@settings(deadline=None)
@given(size=st.tuples(sides, sides), wanted=st.tuples(sides, sides), seed=seeds)
def test_nearest_is_pillows(size: tuple[int, int], wanted: tuple[int, int], seed: int) -> None:
    """Where a centre falls between two pixels, Pillow's sums round it to either one."""
    image = _image(*size, seed)
    result = _resize(image, *wanted, "nearest")
    expected = _pillow(image, *wanted, Image.Resampling.NEAREST)
    rows, columns = (
        (2 * np.arange(n) + 1) * m % (2 * n) != 0 for m, n in zip(size, wanted, strict=True)
    )
    np.testing.assert_array_equal(result[rows][:, columns], expected[rows][:, columns])


@settings(deadline=None)
@given(size=st.tuples(sides, sides), more=st.tuples(sides, sides), seed=seeds)
def test_enlarging_bilinearly_is_pillows(
    size: tuple[int, int], more: tuple[int, int], seed: int
) -> None:
    image, height, width = _image(*size, seed), size[0] + more[0], size[1] + more[1]
    expected = _pillow(image, height, width, Image.Resampling.BILINEAR)
    np.testing.assert_allclose(_resize(image, height, width, "bilinear"), expected, atol=TOLERANCE)


@settings(deadline=None)
@given(
    wanted=st.tuples(sides, sides),
    times=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    seed=seeds,
)
def test_shrinking_by_whole_areas_is_pillows_box(
    wanted: tuple[int, int], times: tuple[int, int], seed: int
) -> None:
    image = _image(wanted[0] * times[0], wanted[1] * times[1], seed)
    expected = _pillow(image, *wanted, Image.Resampling.BOX)
    np.testing.assert_allclose(_resize(image, *wanted, "area"), expected, atol=TOLERANCE)


@settings(deadline=None)
@given(size=st.tuples(sides, sides), seed=seeds)
def test_gray_is_pillows_luma(size: tuple[int, int], seed: int) -> None:
    """Pillow rounds to a whole level; so the tolerance is one level."""
    image = np.floor(_image(*size, seed, (3,)))
    step = {"step": "color_order", "from": "rgb", "to": "gray"}
    gray = Pipeline.from_steps([step], image.shape)(image)[..., 0]
    expected = np.asarray(Image.fromarray(image.astype(np.uint8)).convert("L"), dtype=np.float32)
    np.testing.assert_allclose(gray, expected, atol=1.0)
