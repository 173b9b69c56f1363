"""Steps that move elements and change none: select, pad, reshape, layout."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeml.errors import PreprocessError
from edgeml.jsonread import Fields
from edgeml.preprocess.params import choice, indices
from edgeml.preprocess.stage import Array, Index, Run, Signal, Stage, signal, unchanged

PAD_MODES = ("constant", "edge", "reflect")


def select(fields: Fields, given: Signal) -> Stage:
    """The channels (last axis) at these indices, in this order; one may come twice."""
    size = given.shape[-1]
    channels = indices(fields, "channels", fields.integers("channels"), size)
    output = signal(fields, (*given.shape[:-1], len(channels)), given.sample_rate_hz)
    local = len(given.shape) > 1
    first = channels[0]
    if channels == tuple(range(size)):
        return Stage(output, unchanged, fresh=False, local=local)
    if channels == tuple(range(first, first + len(channels))):
        columns = (Ellipsis, slice(first, first + len(channels)))
        return Stage(output, lambda x, _: x[columns], fresh=False, local=local)
    order = np.array(channels, dtype=np.intp)
    return Stage(output, lambda x, _: np.take(x, order, axis=-1), local=local)


def reshape(fields: Fields, given: Signal) -> Stage:
    """The same elements in C order under another shape; one axis may be -1, to be worked out."""
    wanted = fields.integers("shape")
    total = math.prod(given.shape)
    known = math.prod(n for n in wanted if n != -1)
    if wanted.count(-1) > 1 or any(n < 1 and n != -1 for n in wanted) or not wanted:
        raise PreprocessError(
            f"{fields.path}.shape is {list(wanted)}; it takes positive numbers and one -1"
        )
    shape = tuple(total // known if n == -1 else n for n in wanted)
    if math.prod(shape) != total:
        raise PreprocessError(
            f"{fields.path}.shape {list(wanted)} does not hold the {total} elements of "
            f"{list(given.shape)}"
        )
    keeps_time = shape[0] == given.shape[0]
    output = signal(fields, shape, given.sample_rate_hz if keeps_time else None)
    batch = len(given.shape)

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        return x.reshape(x.shape[:-batch] + shape)

    return Stage(output, run, fresh=False, local=keeps_time)


def layout(fields: Fields, given: Signal) -> Stage:
    """The axes in another order, each named by a letter: from "hwc" to "chw"."""
    before, after = fields.text("from"), fields.text("to")
    if len(set(before)) != len(before) or len(before) != len(given.shape):
        raise PreprocessError(
            f"{fields.path}.from is {before!r}; it should be {len(given.shape)} different letters, "
            f"one for each axis of {list(given.shape)}"
        )
    if sorted(before) != sorted(after):
        raise PreprocessError(
            f"{fields.path}.to is {after!r}; it should be the letters of {before!r}"
        )
    order = [before.index(letter) for letter in after]
    shape = tuple(given.shape[i] for i in order)
    keeps_time = order[0] == 0
    output = signal(fields, shape, given.sample_rate_hz if keeps_time else None)
    one = tuple(order)
    many = (0, *(i + 1 for i in order))

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        turned: Array = x.transpose(one if x.ndim == len(one) else many)
        return turned

    return Stage(output, run, fresh=False, local=keeps_time)


def pad(fields: Fields, given: Signal) -> Stage:
    """Rows added before and after along the leading axes: `widths` is [[before, after], ...].

    `mode`: constant (of `value`, 0 if left out), edge (the border again) or
    reflect (the inside again, mirrored at the border element).
    """
    mode = choice(fields, "mode", PAD_MODES, default="constant")
    value = np.float32(fields.number("value", default=0.0))
    widths = _widths(fields, given)
    shape = tuple(
        n + before + after for n, (before, after) in zip(given.shape, widths, strict=True)
    )
    output = signal(fields, shape, given.sample_rate_hz)
    if mode == "constant":
        return Stage(output, _pad_constant(given, shape, widths, value))
    for axis, (size, (before, after)) in enumerate(zip(given.shape, widths, strict=True)):
        if mode == "reflect" and max(before, after) >= size:
            raise PreprocessError(
                f"{fields.path}.widths asks for {max(before, after)} on axis {axis}; reflect has "
                f"only {size - 1} elements there to mirror"
            )
    gathers = [
        (axis - len(shape), _source(size, before, after, mode))
        for axis, (size, (before, after)) in enumerate(zip(given.shape, widths, strict=True))
        if before or after
    ]

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        for axis, index in gathers:
            x = np.take(x, index, axis=axis)
        return x

    return Stage(output, run, fresh=bool(gathers))


def _widths(fields: Fields, given: Signal) -> list[tuple[int, int]]:
    pairs = fields.items("widths")
    good = 0 < len(pairs) <= len(given.shape) and all(
        isinstance(pair, Sequence)
        and len(pair) == 2
        and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in pair)
        for pair in pairs
    )
    if not good:
        raise PreprocessError(
            f"{fields.path}.widths is {pairs!r}; it should be a list of [before, after], one for "
            f"each of the leading axes of {list(given.shape)}"
        )
    return [(int(a), int(b)) for a, b in pairs] + [(0, 0)] * (len(given.shape) - len(pairs))


def _pad_constant(
    given: Signal, shape: tuple[int, ...], widths: list[tuple[int, int]], value: np.float32
) -> Run:
    rows = (slice(before, before + n) for n, (before, _) in zip(given.shape, widths, strict=True))
    inside: Index = (Ellipsis, *rows)
    batch = len(shape)

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        y = np.full(x.shape[:-batch] + shape, value, dtype=np.float32)
        y[inside] = x
        return y

    return run


def _source(size: int, before: int, after: int, mode: str) -> npt.NDArray[np.intp]:
    index = np.arange(-before, size + after, dtype=np.intp)
    if mode == "edge":
        return np.clip(index, 0, size - 1)
    mirrored = np.abs(index)
    return np.where(mirrored >= size, 2 * (size - 1) - mirrored, mirrored)
