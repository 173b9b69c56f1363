"""Quantisation against exact arithmetic in fractions: half to even, saturated, along any axis."""

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.errors import BackendError
from edgeml.runtime.tensors import TensorSpec, decoder, dequantise, quantise, spec_from_details

DTYPES = ("int8", "uint8", "int16", "int32")


def spec(
    dtype: str, scales: list[float], zero_points: list[int], shape: tuple[int, ...] = (1, 4)
) -> TensorSpec:
    return TensorSpec(
        0,
        "x",
        shape,
        (),
        np.dtype(dtype),
        np.array(scales, np.float32),
        np.array(zero_points, np.int32),
        len(shape) - 1,
    )


def exact(x: np.float32, tensor: TensorSpec, channel: int) -> int:
    """One value by the definition, in exact arithmetic on the same float32 reciprocal."""
    limits = np.iinfo(tensor.dtype)
    reciprocal = np.float32(1) / tensor.scale[channel]
    product = np.float32(x) * reciprocal
    if limits.bits > 16:
        product = np.float64(x) * np.float64(reciprocal)
    steps = round(Fraction(float(product))) + int(tensor.zero_point[channel])
    return max(limits.min, min(limits.max, steps))


# Loading an interpreter on 32-bit ARM sets its FPU to flush subnormal numbers to zero.
values = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
small_scales = st.floats(2.0**-12, 16, width=32)


@pytest.mark.parametrize("dtype", DTYPES)
@given(x=st.lists(values, min_size=4, max_size=4), scale=small_scales, data=st.data())
def test_quantising_is_exact_arithmetic_rounded_half_to_even_and_saturated(
    dtype: str, x: list[float], scale: float, data: st.DataObject
) -> None:
    limits = np.iinfo(dtype)
    zero_point = data.draw(st.integers(max(limits.min, -32768), min(limits.max, 32767)))
    tensor = spec(dtype, [scale], [zero_point])
    given_x = np.array([x], np.float32)
    expected = [exact(v, tensor, 0) for v in given_x[0]]
    assert quantise(given_x, tensor)[0].tolist() == expected


@given(
    x=st.lists(values, min_size=4, max_size=4),
    scales=st.lists(small_scales, min_size=4, max_size=4),
    zero_points=st.lists(st.integers(-128, 127), min_size=4, max_size=4),
)
def test_each_channel_has_its_own_scale(
    x: list[float], scales: list[float], zero_points: list[int]
) -> None:
    tensor = spec("int8", scales, zero_points)
    given_x = np.array([x], np.float32)
    expected = [exact(v, tensor, i) for i, v in enumerate(given_x[0])]
    assert quantise(given_x, tensor)[0].tolist() == expected


def test_exact_halves_go_to_the_even_neighbour() -> None:
    tensor = spec("int8", [1.0], [3])
    halves = np.array([[0.5, 1.5, -0.5, -1.5]], np.float32)
    assert quantise(halves, tensor)[0].tolist() == [0 + 3, 2 + 3, 0 + 3, -2 + 3]


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_lies_outside_saturates_and_does_not_wrap(dtype: str) -> None:
    limits = np.iinfo(dtype)
    tensor = spec(dtype, [0.5], [0])
    far = np.array([[-1e30, 1e30, -3e38, 3e38]], np.float32)
    with np.errstate(over="ignore"):  # numpy says so where even the quotient leaves float32
        assert quantise(far, tensor)[0].tolist() == [limits.min, limits.max] * 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_is_the_zero_point_however_small_the_scale(dtype: str) -> None:
    """The reciprocal of 1e-45 is infinite in float32, and zero times infinity is no number."""
    limits = np.iinfo(dtype)
    tiny = spec(dtype, [1e-45], [3])
    with np.errstate(over="ignore", divide="ignore"):
        assert quantise(np.array([[0, 1e3, -1e3]], np.float32), tiny)[0].tolist() == [
            3,
            limits.max,
            limits.min,
        ]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@given(scale=small_scales, data=st.data())
def test_there_and_back_is_the_same_integer(dtype: str, scale: float, data: st.DataObject) -> None:
    limits = np.iinfo(dtype)
    zero_point = data.draw(st.integers(limits.min, limits.max))
    tensor = spec(dtype, [scale], [zero_point])
    steps = data.draw(st.lists(st.integers(limits.min, limits.max), min_size=4, max_size=4))
    q = np.array([steps], dtype)
    assert np.array_equal(quantise(dequantise(q, tensor), tensor), q)


@given(data=st.data())
def test_dequantising_is_the_difference_times_the_scale_rounded_once(data: st.DataObject) -> None:
    scale = np.float32(data.draw(small_scales))
    zero_point = data.draw(st.integers(-128, 127))
    q = np.array([data.draw(st.lists(st.integers(-128, 127), min_size=4, max_size=4))], np.int8)
    tensor = spec("int8", [float(scale)], [zero_point])
    expected = [np.float32(np.float32(int(v) - zero_point) * scale) for v in q[0]]
    assert dequantise(q, tensor)[0].tolist() == expected
    assert decoder(tensor)(q)[0].tolist() == expected


def test_a_tensor_without_scales_takes_whole_numbers_as_they_are() -> None:
    tensor = spec("uint8", [], [])
    assert quantise([[0, 1.4, 254.6, 300]], tensor)[0].tolist() == [0, 1, 255, 255]
    assert dequantise(np.array([[7, 8, 9, 255]], np.uint8), tensor)[0].tolist() == [7, 8, 9, 255]


def test_a_float_tensor_takes_values_as_they_are() -> None:
    tensor = spec("float32", [], [])
    x = np.array([[0.1, -2, 3e38, 0]], np.float32)
    assert np.array_equal(quantise(x, tensor), x)
    assert np.array_equal(decoder(tensor)(x), x)


def test_large_windows_take_the_same_path_as_small_ones() -> None:
    """Operands are written out for small tensors and broadcast for large ones."""
    x = np.linspace(-10, 10, 6000, dtype=np.float32)
    large = spec("int8", [0.07], [5], (1, 6000))
    pieces = [
        quantise(x[i : i + 100], spec("int8", [0.07], [5], (100,))) for i in range(0, 6000, 100)
    ]
    assert np.array_equal(quantise(x[np.newaxis], large)[0], np.concatenate(pieces))


def details(**changes: object) -> dict[str, object]:
    base: dict[str, object] = {
        "index": 3,
        "name": "x",
        "shape": np.array([1, 4]),
        "shape_signature": np.array([-1, 4]),
        "dtype": np.int8,
        "quantization_parameters": {
            "scales": np.array([0.5], np.float32),
            "zero_points": np.array([1], np.int32),
            "quantized_dimension": 0,
        },
    }
    return {**base, **changes}


def quantisation(scales: list[float], zero_points: list[int], axis: int) -> dict[str, object]:
    arrays: tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]
    arrays = np.array(scales, np.float32), np.array(zero_points, np.int32)
    return {"scales": arrays[0], "zero_points": arrays[1], "quantized_dimension": axis}


def test_an_interpreters_details_become_a_spec() -> None:
    tensor = spec_from_details(details())
    assert (tensor.number, tensor.name, tensor.shape, tensor.free) == (3, "x", (1, 4), (0,))
    assert tensor.quantised
    assert tensor.size == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": np.bytes_}, "not numbers"),
        ({"dtype": np.complex64}, "not numbers"),
        ({"quantization_parameters": quantisation([1, 2], [0, 0], 0)}, "fit no axis"),
        ({"quantization_parameters": quantisation([1, 2], [0, 0], 9)}, "fit no axis"),
        ({"quantization_parameters": quantisation([0], [0], 0)}, "not positive"),
        ({"quantization_parameters": quantisation([float("nan")], [0], 0)}, "not positive"),
        ({"quantization_parameters": quantisation([1], [0, 0], 0)}, "not positive"),
    ],
)
def test_details_that_cannot_be_used_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BackendError, match=message):
        spec_from_details(details(**changes))
