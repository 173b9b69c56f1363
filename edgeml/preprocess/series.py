"""Steps for rows in time: detrend, difference, magnitude, taper."""

import numpy as np

from edgeml.arrays import Wide
from edgeml.errors import PreprocessError
from edgeml.jsonread import Fields
from edgeml.preprocess.params import choice, indices, whole
from edgeml.preprocess.spectral import WINDOWS, window_function
from edgeml.preprocess.stage import Array, Index, Signal, Stage, signal, widen


def detrend(fields: Fields, given: Signal) -> Stage:
    """Subtracts over time the mean (`method` constant) or the least-squares line (linear).

    A constant channel becomes exact zeros. Float64 inside.
    """
    method = choice(fields, "method", ("linear", "constant"), default="linear")
    axis = given.time_axis
    rows = given.shape[0]
    time = (np.arange(rows, dtype=np.float64) - (rows - 1) / 2).reshape(_along(given))
    energy = float(np.sum(time**2))

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        wide = widen(x)
        wide -= np.add.reduce(wide, axis, keepdims=True) / rows
        if method == "linear" and energy > 0:
            wide -= time * (np.add.reduce(wide * time, axis, keepdims=True) / energy)
        return wide.astype(np.float32)

    return Stage(given, run)


def difference(fields: Fields, given: Signal) -> Stage:
    """Each row less the one `lag` rows (1 if left out) before; the first `lag` rows go."""
    rows = given.shape[0]
    if rows < 2:
        raise PreprocessError(f"{fields.path} needs at least two rows; it is given {rows}")
    lag = whole(fields, "lag", 1, rows - 1, default=1)
    output = signal(fields, (rows - lag, *given.shape[1:]), given.sample_rate_hz)
    rest = (slice(None),) * (len(given.shape) - 1)
    later: Index = (Ellipsis, slice(lag, None), *rest)
    earlier: Index = (Ellipsis, slice(0, rows - lag), *rest)
    return Stage(output, lambda x, _: np.subtract(x[later], x[earlier]), local=True)


def magnitude(fields: Fields, given: Signal) -> Stage:
    """The Euclidean length of each group of channels: one channel a group.

    `groups`: lists of channel indices; all channels as one group if left out.
    `append`: whether the lengths follow the channels (true) or replace them.
    """
    size = given.shape[-1]
    if len(given.shape) < 2:
        raise PreprocessError(
            f"{fields.path} needs a channel axis; it is given {list(given.shape)}"
        )
    groups = _groups(fields, size)
    append = fields.boolean("append", default=False)
    channels = len(groups) + (size if append else 0)
    output = signal(fields, (*given.shape[:-1], channels), given.sample_rate_hz)

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        y = np.empty((*x.shape[:-1], channels), dtype=np.float32)
        if append:
            y[..., :size] = x
        for i, group in enumerate(groups, start=channels - len(groups)):
            total = np.square(x[..., group[0]], dtype=np.float64)
            for channel in group[1:]:
                total += np.square(x[..., channel], dtype=np.float64)
            y[..., i] = np.sqrt(total)
        return y

    return Stage(output, run, local=True)


def taper(fields: Fields, given: Signal) -> Stage:
    """Fades both ends of the window: times a `window` function (hann if left out) over time.

    `periodic`: made for a Fourier transform (true, the default), or symmetric.
    """
    name = choice(fields, "window", WINDOWS, default="hann")
    periodic = fields.boolean("periodic", default=True)
    values: Wide = window_function(name, given.shape[0], periodic).reshape(_along(given))
    weights = np.ascontiguousarray(np.broadcast_to(values.astype(np.float32), given.shape))
    return Stage(given, lambda x, out: np.multiply(x, weights, out))


def _along(given: Signal) -> tuple[int, ...]:
    """A shape that spreads one value a row over the rest of the window."""
    return (given.shape[0], *(1 for _ in given.shape[1:]))


def _groups(fields: Fields, size: int) -> tuple[tuple[int, ...], ...]:
    if fields.value("groups") is None:
        return (tuple(range(size)),)
    raw, groups = fields.items("groups"), []
    if not raw:
        raise PreprocessError(f"{fields.path}.groups is empty; it should hold at least one group")
    for i, group in enumerate(raw):
        if not isinstance(group, list) or not all(type(n) is int for n in group):
            raise PreprocessError(f"{fields.path}.groups[{i}] should be a list of channel indices")
        groups.append(indices(fields, f"groups[{i}]", group, size))
    return tuple(groups)
