"""Runs a manifest's preprocessing: compiled once, then cheap for every window.

All that can be wrong is found while compiling: names, parameters, shapes,
rates. What is left for a window is a loop over closures, each of which writes
into its argument where that is the pipeline's own memory, never the caller's.

Only filters remember anything, and only where the caller says how many rows of
a window are `new`. Overlapping windows show a filter the same rows again and
again; with `new` it takes each row of the stream once. Without, a window is
complete in itself: every filter starts as if the window's first row had lasted
for ever. Training gets what a stream on the device gives from `recording`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from edgeml.arrays import ArrayLike
from edgeml.errors import InputError, PreprocessError, nearest
from edgeml.jsonread import Fields
from edgeml.manifest import PreprocessStep
from edgeml.preprocess.stage import Array, Memory, Run, Signal, Stage
from edgeml.preprocess.steps import STEPS

BATCH_ELEMENTS: Final = 1 << 20
"""`batch` works through this many raw elements at a time, to bound what its steps hold."""

_FLOAT32: Final = np.dtype(np.float32)


class Pipeline:
    """Steps compiled for one window shape.

    One instance serves one stream at a time where `stateful`; else it holds no
    state and any thread may call it.

    Attributes:
        steps: as given, by name and parameters.
        input_shape: of a raw window.
        output_shape: of what a call returns.
        sample_rate_hz: of axis 0 of the output; None where that means nothing.
        stateful: whether a call with `new` depends on the calls before.
    """

    __slots__ = (
        "_memories",
        "_plan",
        "_stages",
        "input_shape",
        "output_shape",
        "sample_rate_hz",
        "stateful",
        "steps",
    )

    def __init__(
        self, steps: tuple[PreprocessStep, ...], stages: tuple[Stage, ...], given: Signal
    ) -> None:
        """From compiled stages; use `from_steps`."""
        result = stages[-1].output if stages else given
        self.steps = steps
        self.input_shape = given.shape
        self.output_shape = result.shape
        self.sample_rate_hz = result.sample_rate_hz
        self.stateful = any(stage.remember is not None for stage in stages)
        self._stages = stages
        self._plan = _plan(stages)
        self._memories = _memories(stages)

    @classmethod
    def from_steps(
        cls,
        steps: Sequence[PreprocessStep | Mapping[str, Any]],
        input_shape: Sequence[int],
        sample_rate_hz: float | None = None,
    ) -> "Pipeline":
        """Compile steps for windows of one shape.

        Args:
            steps: manifest steps, or the JSON objects {"step": name, ...parameters}.
            input_shape: of one raw window, without a batch axis.
            sample_rate_hz: rows a second; needed by steps that speak of hertz.

        Raises:
            PreprocessError: an unknown step or parameter (the message names the nearest
                right one), a missing or wrong value, or shapes that do not fit.
        """
        shape = tuple(int(n) for n in input_shape)
        if not shape or min(shape) < 1:
            raise PreprocessError(f"input_shape is {list(shape)}; every axis needs an element")
        if sample_rate_hz is not None and not (
            math.isfinite(sample_rate_hz) and sample_rate_hz > 0
        ):
            raise PreprocessError(
                f"sample_rate_hz is {sample_rate_hz}; a rate is a positive number"
            )
        given = now = Signal(shape, sample_rate_hz)
        parsed = tuple(_parse(step, i) for i, step in enumerate(steps))
        stages: list[Stage] = []
        for i, step in enumerate(parsed):
            stage = _compile(step, i, now)
            if stage.remember is not None:
                _check_local(stages, parsed, i)
            stages.append(stage)
            now = stage.output
        return cls(parsed, tuple(stages), given)

    def __call__(self, window: ArrayLike, new: int | None = None) -> Array:
        """Preprocess one raw window.

        Args:
            window: (*input_shape) in sensor units; never written to. With no step
                that makes new memory the result is the window itself, or a view of it.
            new: how many of its last rows were not in the window before: the stride, or
                more where rows were lost (then filters start anew). None for a window
                that is complete in itself, which leaves the stream's state alone.

        Returns:
            float32 (*output_shape), C order.

        Raises:
            InputError: another shape, no numbers, or `new` below 1.
        """
        if type(window) is np.ndarray and window.dtype is _FLOAT32:
            x: Array = window
        else:
            x = as_floats(window)
        if x.shape != self.input_shape:
            raise InputError(
                f"the window has the shape {list(x.shape)}; it should be {list(self.input_shape)}"
            )
        if new is not None and self.stateful:
            return self._stream(x, new, self._memories)
        for run, in_place in self._plan:
            x = run(x, x if in_place else None)
        return x if x.flags.c_contiguous else np.ascontiguousarray(x)

    def batch(self, windows: ArrayLike) -> Array:
        """Preprocess windows that are each complete in themselves.

        Args:
            windows: (n, *input_shape) in sensor units; n may be 0.

        Returns:
            float32 (n, *output_shape): bit for bit what one call for each window gives.

        Raises:
            InputError: another shape, or no numbers.
        """
        x = as_floats(windows)
        if x.shape[1:] != self.input_shape or x.ndim == 0:
            raise InputError(
                f"the batch has the shape {list(x.shape)}; it should be "
                f"[n, {', '.join(map(str, self.input_shape))}]"
            )
        result = np.empty((len(x), *self.output_shape), dtype=np.float32)
        count = max(1, BATCH_ELEMENTS // math.prod(self.input_shape))
        for start in range(0, len(x), count):
            part = np.ascontiguousarray(x[start : start + count])
            for run, in_place in self._plan:
                part = run(part, part if in_place else None)
            result[start : start + count] = part
        return result

    def recording(self, samples: ArrayLike, stride: int) -> Array:
        """Every window of a whole recording, as a device gives them that streams it.

        The windows start at rows 0, stride, 2 * stride, ...; rows after the last
        complete window are left out. The pipeline's own stream is not touched.

        Args:
            samples: (rows, *input_shape[1:]) in sensor units.
            stride: rows from one window's start to the next one's.

        Returns:
            float32 (n, *output_shape): bit for bit what `pipeline(window, new=stride)` gives.

        Raises:
            InputError: another shape, fewer rows than a window, or a stride below 1.
        """
        x = as_floats(samples)
        rows = self.input_shape[0]
        if x.shape[1:] != self.input_shape[1:] or x.ndim == 0 or len(x) < rows:
            raise InputError(
                f"the recording has the shape {list(x.shape)}; it should be {rows} or more rows of "
                f"{list(self.input_shape[1:])}"
            )
        if stride < 1:
            raise InputError(f"stride is {stride}; windows move on by at least one row")
        starts = range(0, len(x) - rows + 1, stride)
        result = np.empty((len(starts), *self.output_shape), dtype=np.float32)
        memories = _memories(self._stages)
        for i, start in enumerate(starts):
            window = np.ascontiguousarray(x[start : start + rows])
            result[i] = self._stream(window, stride, memories) if self.stateful else self(window)
        return result

    def reset(self) -> None:
        """Forget the stream: the next window counts as its first."""
        self._memories = _memories(self._stages)

    def _stream(self, x: Array, new: int, memories: Sequence[Memory | None]) -> Array:
        if new < 1:
            raise InputError(f"new is {new}; a window brings at least one new row")
        for (run, in_place), memory in zip(self._plan, memories, strict=True):
            x = run(x, x if in_place else None) if memory is None else memory.advance(x, new)
        return x if x.flags.c_contiguous else np.ascontiguousarray(x)


def as_floats(values: ArrayLike) -> Array:
    """Anything that numpy reads as real numbers, as float32.

    Raises:
        InputError: no numbers, or complex ones.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as exc:
        raise InputError(f"the samples are not an array of numbers ({exc})") from exc
    if array.dtype.kind not in "fiub":
        raise InputError(f"the samples hold {array.dtype}, not real numbers")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinity
        return array.astype(np.float32, copy=False)


def _parse(step: PreprocessStep | Mapping[str, Any], i: int) -> PreprocessStep:
    if isinstance(step, PreprocessStep):
        return step
    fields = Fields(step, f"preprocess[{i}]", PreprocessError)
    name = fields.text("step")
    return PreprocessStep(name, {key: value for key, value in fields.raw.items() if key != "step"})


def _compile(step: PreprocessStep, i: int, given: Signal) -> Stage:
    build = STEPS.get(step.step)
    if build is None:
        raise PreprocessError(
            f"preprocess[{i}]: there is no step {step.step!r}{nearest(step.step, STEPS)}"
        )
    fields = Fields(step.params, f"preprocess[{i}] {step.step}", PreprocessError)
    stage = build(fields, given)
    fields.finish()
    return stage


def _check_local(before: Sequence[Stage], steps: Sequence[PreprocessStep], i: int) -> None:
    for j, stage in enumerate(before):
        if not stage.local:
            raise PreprocessError(
                f"preprocess[{i}] {steps[i].step} keeps its state across windows, so it cannot "
                f"follow preprocess[{j}] {steps[j].step}, whose rows differ from window to window; "
                "put the filter first"
            )


def _plan(stages: Sequence[Stage]) -> tuple[tuple[Run, bool], ...]:
    """Each step's work, and whether its argument is the pipeline's own memory to write into."""
    plan, owned = [], False
    for stage in stages:
        plan.append((stage.run, owned))
        owned = owned or stage.fresh
    return tuple(plan)


def _memories(stages: Sequence[Stage]) -> tuple[Memory | None, ...]:
    return tuple(None if stage.remember is None else stage.remember() for stage in stages)
