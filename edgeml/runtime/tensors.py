"""The numbers that cross into a model: dtypes, scales, and how a float becomes an integer.

Only this module rounds. A quantised value is `rint(x / scale) + zero_point`,
rounded half to even and saturated, as TFLite's own QUANTIZE operator computes it;
the way back is `(q - zero_point) * scale` in float32.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from edgeml.arrays import Array, ArrayLike, Floats, Ints
from edgeml.errors import BackendError

_WRITTEN_OUT: Final = 2048
"""Up to this many elements a scale is written out for each of them."""


class TensorSpec(NamedTuple):
    """One input or output of a model.

    Attributes:
        number: the interpreter's own for it.
        name: as the file says.
        shape: with the batch axis.
        free: the axes whose length the file leaves open.
        dtype: of the tensor.
        scale: float32 (1,) or (channels,); empty where the tensor is not quantised.
        zero_point: int32, as many as `scale`.
        axis: the axis that `scale` runs along, where there are several.
    """

    number: int
    name: str
    shape: tuple[int, ...]
    free: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: Floats
    zero_point: Ints
    axis: int

    @property
    def quantised(self) -> bool:
        """Whether the tensor holds integers that stand for real numbers."""
        return self.dtype.kind in "iu" and self.scale.size > 0

    @property
    def size(self) -> int:
        """Elements in the tensor."""
        return math.prod(self.shape)

    def along_axis(self) -> tuple[Floats, Ints]:
        """Scale and zero point, shaped to broadcast over the tensor."""
        if self.scale.size == 1:
            return self.scale.reshape(()), self.zero_point.reshape(())
        shape = [1] * len(self.shape)
        shape[self.axis] = self.scale.size
        return self.scale.reshape(shape), self.zero_point.reshape(shape)

    def as_dict(self) -> dict[str, Any]:
        """JSON values, for reports."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype.name,
            "scale": [float(s) for s in self.scale],
            "zero_point": [int(z) for z in self.zero_point],
        }


def spec_from_details(details: Mapping[str, Any]) -> TensorSpec:
    """Read what an interpreter says of a tensor.

    Raises:
        BackendError: a dtype that has no numbers, or scales that fit no axis.
    """
    dtype = np.dtype(details["dtype"])
    name = str(details["name"])
    if dtype.kind not in "fiub":
        raise BackendError(f"tensor {name!r} holds {dtype}, not numbers; edgeml cannot feed it")
    shape = tuple(int(n) for n in details["shape"])
    signature = [int(n) for n in details.get("shape_signature", ())]
    parameters = details["quantization_parameters"]
    scale = np.asarray(parameters["scales"], np.float32)
    zero_point = np.asarray(parameters["zero_points"], np.int32)
    axis = int(parameters["quantized_dimension"])
    if dtype.kind not in "iu":
        scale, zero_point = scale[:0], zero_point[:0]
    if scale.size > 1 and not (0 <= axis < len(shape) and shape[axis] == scale.size):
        raise BackendError(f"tensor {name!r}: {scale.size} scales fit no axis of {list(shape)}")
    if scale.size != zero_point.size or not (np.isfinite(scale).all() and (scale > 0).all()):
        raise BackendError(f"tensor {name!r}: its scales are not positive numbers")
    free = tuple(i for i, n in enumerate(signature) if n < 0)
    return TensorSpec(int(details["index"]), name, shape, free, dtype, scale, zero_point, axis)


def quantise(x: ArrayLike, spec: TensorSpec) -> Array:
    """Real numbers as the tensor's own, rounded half to even and saturated.

    Args:
        x: finite numbers whose shape broadcasts with the tensor's.
        spec: the tensor; one without scales takes whole numbers as they are.

    Returns:
        An array of `spec.dtype`, of the shape of `x`.
    """
    values = np.asarray(x, np.float32)
    out = np.empty(values.shape, spec.dtype)
    encoder(spec, values.shape)(values, out)
    return out


def encoder(spec: TensorSpec, shape: Sequence[int]) -> Callable[[Floats, Array], None]:
    """A function `encode(x, out)` that writes real numbers into the tensor's memory.

    It owns its scratch memory, so it serves one thread. `x` is float32 of
    `shape` and is not written to; `out` is of `spec.dtype` and the same shape.
    """
    if spec.dtype.kind not in "iu":

        def convert(x: Floats, out: Array) -> None:
            out[...] = x

        return convert
    limits = np.iinfo(spec.dtype)
    scale, zero_point = spec.along_axis()
    # Beyond 2**24 not every integer is a float32: wide tensors are computed in float64.
    wide = np.float64 if limits.bits > 16 else np.float32
    high = np.array(limits.max, wide)
    if limits.bits > 32:
        high = np.nextafter(high, np.array(0, wide))
    # In float32, as XNNPACK has it; numpy 1 would divide a scalar in float64.
    with np.errstate(over="ignore"):
        reciprocal = np.divide(1, scale, dtype=np.float32) if spec.quantised else np.float32(1)
    # That of a subnormal scale is infinite, and zero times infinity would be no number.
    reciprocal = np.minimum(reciprocal, np.finfo(np.float32).max)
    factor = np.asarray(reciprocal, wide)
    offset = zero_point.astype(wide) if spec.quantised else np.array(0, wide)
    scratch = np.empty(tuple(shape), wide)
    given = (factor, offset, np.array(limits.min, wide), high)
    by, add_on, lowest, highest = (_operand(value, scratch) for value in given)
    multiply, rint, add = np.multiply, np.rint, np.add
    maximum, minimum = np.maximum, np.minimum
    shifted = bool(offset.any())

    def encode(x: Floats, out: Array) -> None:
        multiply(x, by, scratch)
        rint(scratch, scratch)
        if shifted:
            add(scratch, add_on, scratch)
        maximum(scratch, lowest, out=scratch)
        minimum(scratch, highest, out=scratch)
        out[...] = scratch

    return encode


def _operand(value: Array, like: Array) -> Array:
    """`value` for an operation with `like`: written out where that is small.

    numpy skips its broadcasting machinery for operands of one shape, which is
    worth a tenth of a microsecond an operation.
    """
    if like.size > _WRITTEN_OUT or value.ndim > like.ndim:
        return value
    written: Array = np.broadcast_to(value, like.shape).copy()
    return written


def dequantise(q: Array, spec: TensorSpec) -> Floats:
    """The tensor's numbers as real ones: (q - zero_point) * scale in float32; others as float32."""
    if not spec.quantised:
        return q.astype(np.float32)
    scale, zero_point = spec.along_axis()
    wide = np.float64 if q.dtype.itemsize > 2 else np.float32
    return ((q.astype(wide) - zero_point.astype(wide)) * scale).astype(np.float32)


def decoder(spec: TensorSpec) -> Callable[[Array], Floats]:
    """`dequantise` for one tensor, with everything that can be computed beforehand."""
    if spec.dtype == np.float32:
        return _unchanged
    if spec.scale.size != 1 or spec.dtype.itemsize > 2:
        return lambda q: dequantise(q, spec)
    scale, zero_point = spec.along_axis()
    offset = zero_point.astype(np.float32)
    float32 = np.dtype(np.float32)

    def decode(q: Array) -> Floats:
        real: Floats = np.subtract(q, offset, dtype=float32)
        return np.multiply(real, scale, real)

    return decode


def _unchanged(values: Array) -> Floats:
    return values
