"""Low-, high- and band-pass steps, and the state that they keep across windows.

A recursion is a loop over samples, which Python pays for dearly. But a filter
is linear: what it makes of a block of m samples and the state before it is one
matrix, and so is the state after it. That matrix is made once from the second-
order sections; a window then costs one product for each block of up to 128 rows
(block recursion: Burrus, 1972, "Block realization of digital filters").

Float64 inside. A filter starts in the steady state of its first row, as if that
row had lasted for ever, so that an offset such as gravity causes no transient.
"""

import numpy as np

from edgeml.arrays import Wide
from edgeml.errors import PreprocessError
from edgeml.jsonread import Fields
from edgeml.preprocess.butterworth import (
    bandpass_sections,
    highpass_sections,
    lowpass_sections,
)
from edgeml.preprocess.params import rate, whole
from edgeml.preprocess.stage import Array, Signal, Stage, widen

BLOCK_ROWS = 128
MAX_ORDER = 8
NARROWEST = 1e-4
"""The nearest that band edges may be to 0, to half the rate and to each other, of the rate."""


def lowpass(fields: Fields, given: Signal) -> Stage:
    """Keeps what is below `cutoff_hz`: a Butterworth filter of `order` 1 to 8, 2 if left out."""
    (cutoff,) = _edges(fields, given, "cutoff_hz")
    return _stage(given, lowpass_sections(_order(fields), cutoff))


def highpass(fields: Fields, given: Signal) -> Stage:
    """Keeps what is above `cutoff_hz`: a Butterworth filter of `order` 1 to 8, 2 if left out."""
    (cutoff,) = _edges(fields, given, "cutoff_hz")
    return _stage(given, highpass_sections(_order(fields), cutoff))


def bandpass(fields: Fields, given: Signal) -> Stage:
    """Keeps what is from `low_hz` to `high_hz`: `order` 1 to 8 at each edge, 2 if left out."""
    low, high = _edges(fields, given, "low_hz", "high_hz")
    return _stage(given, bandpass_sections(_order(fields), low, high))


class Cascade:
    """Second-order sections in series, as block matrices made when first needed.

    The state of a section is that of the transposed direct form II: two numbers a column.
    """

    __slots__ = ("_blocks", "_sections", "_steady", "states")

    def __init__(self, sections: Wide) -> None:
        self._sections = sections
        self._blocks: dict[int, Wide] = {}
        self._steady = _steady_state(sections)
        self.states = 2 * len(sections)

    def settled(self, row: Wide) -> Wide:
        """The state (..., states, columns) after `row` (..., columns) has lasted for ever."""
        return self._steady[:, None] * row[..., None, :]

    def run(self, x: Wide, state: Wide) -> tuple[Wide, Wide]:
        """Filter x (..., rows, columns) on from `state`; gives the output and the state after."""
        y = np.empty_like(x)
        for start in range(0, x.shape[-2], BLOCK_ROWS):
            part = x[..., start : start + BLOCK_ROWS, :]
            rows = part.shape[-2]
            both = np.matmul(self._block(rows), np.concatenate((part, state), axis=-2))
            y[..., start : start + rows, :] = both[..., :rows, :]
            state = both[..., rows:, :]
        return y, state

    def _block(self, rows: int) -> Wide:
        """The matrix (rows + states, rows + states) from input and state to output and state."""
        block = self._blocks.get(rows)
        if block is None:
            block = self._blocks[rows] = _block_matrix(self._sections, rows)
        return block


class FilterMemory:
    """One filter's place in one stream: its state, and its output for the last window."""

    __slots__ = ("_cascade", "_history", "_state")

    def __init__(self, cascade: Cascade) -> None:
        self._cascade = cascade
        self._state: Wide | None = None
        self._history: Array = np.empty((0, 0), dtype=np.float32)

    def advance(self, x: Array, new: int) -> Array:
        """The output for window x, filtering its last `new` rows only.

        More new rows than the window holds means that rows were lost: the filter
        starts anew, as it does on the stream's first window.
        """
        rows = x.shape[0]
        if self._state is None or new > rows:
            wide = _columns(x, x.ndim)
            self._history, new = np.empty(wide.shape, dtype=np.float32), rows
            self._state = self._cascade.settled(wide[0])
        else:
            wide = _columns(x[rows - new :], x.ndim)
            self._history[: rows - new] = self._history[new:]
        y, self._state = self._cascade.run(wide, self._state)
        self._history[rows - new :] = y
        output: Array = self._history.copy().reshape(x.shape)
        return output


def _stage(given: Signal, sections: Wide) -> Stage:
    cascade = Cascade(sections)
    rank = len(given.shape)

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        wide = _columns(x, rank)
        y, _ = cascade.run(wide, cascade.settled(wide[..., 0, :]))
        return y.astype(np.float32).reshape(x.shape)

    return Stage(given, run, local=True, remember=lambda: FilterMemory(cascade))


def _columns(x: Array, rank: int) -> Wide:
    """The window's axes as (rows, columns), in float64."""
    lead = x.shape[: x.ndim - rank]
    return widen(x).reshape((*lead, x.shape[x.ndim - rank], -1))


def _edges(fields: Fields, given: Signal, *keys: str) -> tuple[float, ...]:
    hz = rate(fields, given)
    edges = [fields.number(key) for key in keys]
    for key, edge in zip(keys, edges, strict=True):
        if not NARROWEST <= edge / hz <= 0.5 - NARROWEST:
            raise PreprocessError(
                f"{fields.path}.{key} is {edge}; at {hz} samples a second it should lie between "
                f"{hz * NARROWEST:g} and {hz * (0.5 - NARROWEST):g}"
            )
    if len(edges) == 2 and (edges[1] - edges[0]) / hz < NARROWEST:
        raise PreprocessError(
            f"{fields.path}.high_hz is {edges[1]}; it should be at least {hz * NARROWEST:g} above "
            f"low_hz, {edges[0]}"
        )
    return tuple(edge / hz for edge in edges)


def _order(fields: Fields) -> int:
    return whole(fields, "order", 1, MAX_ORDER, default=2)


def _steady_state(sections: Wide) -> Wide:
    """The state (2 * sections,) in which a constant input of 1 leaves every section."""
    states, level = [], 1.0
    for b0, b1, b2, _, a1, a2 in sections:
        after = level * (b0 + b1 + b2) / (1 + a1 + a2)
        second = b2 * level - a2 * after
        states += [b1 * level - a1 * after + second, second]
        level = after
    return np.array(states)


def _block_matrix(sections: Wide, rows: int) -> Wide:
    """Runs the recursion on every unit input and every unit state at once."""
    size = rows + 2 * len(sections)
    unit = np.eye(size)
    states = [list(unit[rows + 2 * i : rows + 2 * i + 2]) for i in range(len(sections))]
    outputs = []
    for row in range(rows):
        signal = unit[row]
        for state, (b0, b1, b2, _, a1, a2) in zip(states, sections, strict=True):
            output = b0 * signal + state[0]
            state[0] = b1 * signal - a1 * output + state[1]
            state[1] = b2 * signal - a2 * output
            signal = output
        outputs.append(signal)
    return np.array([*outputs, *(column for state in states for column in state)])
