"""Tries schemes on one model and chooses: the cheapest file that keeps its score.

The point estimate of the drop decides; its interval says when the windows are
too few for that to mean much, because refusing every model with a small test
set would refuse most models.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import BackendError, ConversionError, MissingDependencyError
from edgeml_converters.judge import Judge, Verdict
from edgeml_converters.measure import run_tflite
from edgeml_converters.mixed import mixtures
from edgeml_converters.outcome import Candidate, NoneFitsError
from edgeml_converters.samples import shortened
from edgeml_converters.schemes import Scheme, check_applied
from edgeml_converters.sources.float_model import without_answer
from edgeml_converters.workshop import Workshop

Floats = npt.NDArray[np.float32]

ABOUT_AS_SMALL: Final = 1.1
"""How much larger than the smallest a file may be that costs less to run."""

ROUNDING: Final = 1e-6
"""A drop that float kernels give by adding in another order, and that no budget means."""


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A scheme that gave a file.

    Attributes:
        scheme: which.
        tflite: the file.
        outputs: (n, *model output), dequantised, on the evaluation windows.
        verdict: how they compare.
        seconds: converting and judging.
        in_float: the layers that a mixed file leaves in float.
    """

    scheme: Scheme
    tflite: bytes
    outputs: Floats
    verdict: Verdict
    seconds: float
    in_float: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A scheme that gave none, and why."""

    scheme: Scheme
    error: ConversionError | BackendError | MissingDependencyError
    seconds: float


@dataclass(frozen=True, slots=True)
class Skipped:
    """A scheme that was not tried, and why."""

    scheme: Scheme
    reason: str


Tried = Attempt | Failure | Skipped


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What was chosen, and a line on each that was tried."""

    attempt: Attempt
    chosen: Candidate
    candidates: tuple[Candidate, ...]


def attempt_all(
    workshop: Workshop,
    schemes: Sequence[Scheme],
    inputs: Floats,
    judge: Judge,
    max_drop: float | None,
    begin: Callable[[str], object],
    *,
    only: str = "",
    because: str = "",
) -> list[Tried]:
    """Try schemes one after another; mixed only where int8 loses too much.

    Args:
        workshop: makes the files.
        schemes: what to try; int8 before mixed.
        inputs: (m, *model input), preprocessed: what the judge knows the answers to.
        judge: compares.
        max_drop: None allows any.
        begin: called with the name of each before it is tried.
        only: the one scheme that is for this model; empty where all are.
        because: why, where there is one.
    """
    tried: list[Tried] = []
    for scheme in schemes:
        begin(scheme.name)
        int8 = next((one for one in tried if one.scheme.name == "int8"), None)
        if only and scheme.name != only:
            tried.append(Skipped(scheme, f"not for this model: {because}"))
        elif scheme.name == "mixed" and isinstance(int8, Attempt) and _fits(int8, max_drop):
            tried.append(Skipped(scheme, "not needed: int8 alone keeps the score"))
        else:
            tried.append(attempt(workshop, scheme, inputs, judge, max_drop))
    return tried


def _fits(one: Attempt, max_drop: float | None) -> bool:
    return max_drop is None or one.verdict.drop <= max_drop + ROUNDING


def attempt(
    workshop: Workshop, scheme: Scheme, inputs: Floats, judge: Judge, max_drop: float | None
) -> Attempt | Failure:
    """Convert with one scheme, check that it was applied, and judge the file.

    Args:
        workshop: makes the files.
        scheme: what to try.
        inputs: (m, *model input), preprocessed: what the judge knows the answers to.
        judge: compares.
        max_drop: what a mixed file must stay within; None takes its first.
    """
    started_s = time.monotonic()
    try:
        if scheme.name == "mixed":
            return _mixed(workshop, scheme, inputs, judge, max_drop)
        return _judged(workshop.make(scheme), workshop.io, scheme, inputs, judge, started_s)
    except (ConversionError, BackendError, MissingDependencyError) as exc:
        return Failure(scheme, exc, time.monotonic() - started_s)


def _mixed(
    workshop: Workshop, scheme: Scheme, inputs: Floats, judge: Judge, max_drop: float | None
) -> Attempt:
    """The first mixture within `max_drop`, which is the one with the fewest layers in float.

    Where none is, the one that comes nearest, so that its distance can be told.
    """
    started_s = time.monotonic()
    nearest: Attempt | None = None
    for tflite, names in mixtures(workshop.int8(), workshop.io, workshop.calibration):
        one = _judged(tflite, workshop.io, scheme, inputs, judge, started_s)
        one = replace(one, in_float=names)
        if _fits(one, max_drop):
            return one
        if nearest is None or one.verdict.drop < nearest.verdict.drop:
            nearest = one
    if nearest is None:
        raise ConversionError("mixed: the model has a single layer; there is nothing to mix")
    return replace(nearest, seconds=time.monotonic() - started_s)


def _judged(
    tflite: bytes, io: str, scheme: Scheme, inputs: Floats, judge: Judge, started_s: float
) -> Attempt:
    check_applied(tflite, scheme, io)
    outputs = run_tflite(tflite, inputs).outputs
    lost = without_answer(outputs)
    if lost:
        raise ConversionError(
            f"{scheme.name}: the file answers NaN or infinity to {lost} of {len(outputs)} windows; "
            "its numbers exceed what the scheme can hold"
        )
    verdict = judge.judge(outputs)
    return Attempt(scheme, tflite, outputs, verdict, time.monotonic() - started_s)


def choose(
    tried: Sequence[Tried],
    max_drop: float | None,
    metric: str,
    max_bytes: int | None = None,
) -> Choice:
    """The cheapest file whose drop is within `max_drop`: small, then quick to run.

    Args:
        tried: at least one.
        max_drop: None allows any.
        metric: what the scores are, for messages.
        max_bytes: the size that a file may have; None allows any.

    Raises:
        ConversionError: the only scheme gave no file, or each is larger than `max_bytes`.
        NoneFitsError: none is within.
    """
    if len(tried) == 1 and isinstance(tried[0], Failure):
        raise tried[0].error
    made = [one for one in tried if isinstance(one, Attempt)]
    smallest = min((len(one.tflite) for one in made), default=0)
    if max_bytes is not None and smallest > max_bytes:
        raise ConversionError(
            f"the smallest file has {smallest} bytes, more than {max_bytes}; make the model smaller"
        )
    fitting = [
        one
        for one in made
        if _fits(one, max_drop) and (max_bytes is None or len(one.tflite) <= max_bytes)
    ]
    best = _cheapest(fitting) if fitting else None
    candidates = tuple(_candidate(one, best, max_drop) for one in tried)
    if best is None:
        closest = min((one.verdict.drop for one in made), default=None)
        nearest = "no scheme gave a file" if closest is None else f"the closest loses {closest:.4g}"
        raise NoneFitsError(
            f"no scheme keeps {metric} within {max_drop:g} of the float model; {nearest}. Train "
            "longer, calibrate on more data, or allow more with --max-drop",
            candidates,
            metric,
        )
    chosen = next(one for one in candidates if one.scheme == best.scheme.name)
    return Choice(best, chosen, candidates)


def _cheapest(fitting: Sequence[Attempt]) -> Attempt:
    """The one that costs least to run, of those about as small as the smallest."""
    limit = ABOUT_AS_SMALL * min(len(one.tflite) for one in fitting)
    small = [one for one in fitting if len(one.tflite) <= limit]
    return min(small, key=lambda one: (one.scheme.cost, len(one.tflite)))


def doubt(verdict: Verdict, max_drop: float | None, n: int) -> str | None:
    """What to say when the windows are too few to be sure of the drop; None when they do."""
    if max_drop is None or verdict.drop_high <= max_drop:
        return None
    return (
        f"evaluation: {n} windows cannot tell whether the drop stays within {max_drop:g}; it lies "
        f"between {verdict.drop_low:.3f} and {verdict.drop_high:.3f} (95 %)"
    )


def _candidate(one: Tried, best: Attempt | None, max_drop: float | None) -> Candidate:
    if isinstance(one, Skipped):
        return Candidate(one.scheme.name, None, None, 0.0, one.reason)
    if isinstance(one, Failure):
        return Candidate(one.scheme.name, None, None, one.seconds, f"not possible: {one.error}")
    line = Candidate(one.scheme.name, len(one.tflite), one.verdict, one.seconds, "", one.in_float)
    if one is best:
        reason = "chosen" if max_drop is None else f"chosen: the cheapest within {max_drop:g}"
    elif not _fits(one, max_drop):
        reason = f"loses {one.verdict.drop:.4g}, more than {max_drop:g}"
    else:
        dearer = best is not None and len(one.tflite) <= len(best.tflite)
        reason = f"{'dearer to run' if dearer else 'larger'} than the chosen one"
    if one.in_float:
        reason += f"; in float: {shortened(one.in_float)}"
    return replace(line, reason=reason)
