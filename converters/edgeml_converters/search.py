"""Tries schemes on one model and chooses: the cheapest file that keeps its score.

The point estimate of the drop decides; its interval says when the windows are
too few for that to mean much, because refusing every model with a small test
set would refuse most models.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import BackendError, ConversionError
from edgeml_converters.int8 import convert_int8
from edgeml_converters.judge import Judge, Verdict
from edgeml_converters.lite import convert_saved_model
from edgeml_converters.measure import run_tflite
from edgeml_converters.outcome import Candidate, NoneFitsError
from edgeml_converters.schemes import Scheme, check_applied
from edgeml_converters.slim import slim

Floats = npt.NDArray[np.float32]

ABOUT_AS_SMALL: Final = 1.1
"""How much larger than the smallest a file may be that costs less to run."""


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A scheme that gave a file.

    Attributes:
        scheme: which.
        tflite: the file.
        outputs: (n, *model output), dequantised, on the evaluation windows.
        verdict: how they compare.
        seconds: converting and judging.
    """

    scheme: Scheme
    tflite: bytes
    outputs: Floats
    verdict: Verdict
    seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A scheme that gave none, and why."""

    scheme: Scheme
    error: ConversionError | BackendError
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What was chosen, and a line on each that was tried."""

    attempt: Attempt
    chosen: Candidate
    candidates: tuple[Candidate, ...]


def attempt(
    folder: Path,
    scheme: Scheme,
    io: str,
    calibration: Floats,
    inputs: Floats,
    judge: Judge,
    task: str,
    max_bytes: int | None = None,
) -> Attempt | Failure:
    """Convert with one scheme, check that it was applied, and judge the file.

    Args:
        folder: the SavedModel.
        scheme: what to try.
        io: "float" or "int8".
        calibration: (n, *model input), preprocessed.
        inputs: (m, *model input), preprocessed: what the judge knows the answers to.
        judge: compares.
        task: of the model, since an anomaly's ranges must not be narrowed.
        max_bytes: a size that int8 tries to stay within.
    """
    started_s = time.monotonic()
    try:
        if scheme.name == "int8":
            tflite = convert_int8(folder, io, calibration, max_bytes, clip=task != "anomaly")
        else:
            tflite = slim(convert_saved_model(folder, scheme, io, calibration))
        check_applied(tflite, scheme, io)
        outputs = run_tflite(tflite, inputs).outputs
    except (ConversionError, BackendError) as exc:
        return Failure(scheme, exc, time.monotonic() - started_s)
    verdict = judge.judge(outputs)
    return Attempt(scheme, tflite, outputs, verdict, time.monotonic() - started_s)


def choose(
    tried: Sequence[Attempt | Failure],
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
        if (max_drop is None or one.verdict.drop <= max_drop)
        and (max_bytes is None or len(one.tflite) <= max_bytes)
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


def _candidate(one: Attempt | Failure, best: Attempt | None, max_drop: float | None) -> Candidate:
    if isinstance(one, Failure):
        return Candidate(one.scheme.name, None, None, one.seconds, f"not possible: {one.error}")
    line = Candidate(one.scheme.name, len(one.tflite), one.verdict, one.seconds, "")
    if one is best:
        reason = "chosen" if max_drop is None else f"chosen: the cheapest within {max_drop:g}"
    elif max_drop is not None and one.verdict.drop > max_drop:
        reason = f"loses {one.verdict.drop:.4g}, more than {max_drop:g}"
    else:
        dearer = best is not None and len(one.tflite) <= len(best.tflite)
        reason = f"{'dearer to run' if dearer else 'larger'} than the chosen one"
    return replace(line, reason=reason)
