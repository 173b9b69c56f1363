"""Steadies answers over time: a label that flickers for one window is not an event.

Three ways, named by `outputs.smoothing` of the manifest:

    {"kind": "votes", "k": 3, "n": 5}           the label that k of the last n windows gave
    {"kind": "mean", "n": 5}                    the mean of the last n outputs decides
    {"kind": "hysteresis", "on": 0.8, "off": 0.5}   a label holds until its own score is below off

Each takes results one by one and gives each back with the steadied label and
score; until there is a decision the label is None. They hold at most n windows
and know nothing of time but order: after a gap, `reset`.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from edgeml.errors import ManifestError, nearest
from edgeml.jsonread import Fields
from edgeml.manifest import OutputSpec
from edgeml.result import Result

MAX_WINDOWS: Final = 10_000


class Smoother(Protocol):
    """What steadies a stream of results."""

    def push(self, result: Result) -> Result:
        """The result with the steadied label and score."""
        ...

    def reset(self) -> None:
        """Forget what came before."""
        ...


class Votes:
    """The label that at least `k` of the last `n` windows gave; else the one decided before.

    The score is the mean score of the windows that gave the label, among those n.
    """

    __slots__ = ("_decided", "_k", "_last")

    def __init__(self, k: int, n: int) -> None:
        """With 1 <= k <= n, and 2 k > n so that two labels cannot both win."""
        self._k = k
        self._last: deque[tuple[str | None, float]] = deque(maxlen=n)
        self._decided: str | None = None

    def push(self, result: Result) -> Result:
        """The result with the steadied label and score."""
        self._last.append((result.label, result.score))
        label, votes = Counter(label for label, _ in self._last).most_common(1)[0]
        if votes >= self._k:
            self._decided = label
        scores = [score for label, score in self._last if label == self._decided]
        score = sum(scores) / len(scores) if scores else result.score
        return result._replace(label=self._decided, score=score)

    def reset(self) -> None:
        """Forget what came before."""
        self._last.clear()
        self._decided = None


class Mean:
    """The mean of the last `n` outputs decides, by the labels and threshold of the model.

    For a regression the score is the mean value; for an anomaly the mean score
    is held against the threshold.
    """

    __slots__ = ("_last", "_outputs")

    def __init__(self, n: int, outputs: OutputSpec) -> None:
        """Over `n` windows; `outputs` says what the numbers mean."""
        self._last: deque[tuple[float, ...]] = deque(maxlen=n)
        self._outputs = outputs

    def push(self, result: Result) -> Result:
        """The result with the steadied label, score and outputs."""
        self._last.append(result.outputs)
        means = tuple(map(_mean_of, zip(*self._last, strict=True)))
        label, score = _decide(means, self._outputs)
        return result._replace(label=label, score=score, outputs=means)

    def reset(self) -> None:
        """Forget what came before."""
        self._last.clear()


class Hysteresis:
    """A label needs a score of `on` to be taken, and keeps it until its own falls below `off`."""

    __slots__ = ("_held", "_labels", "_off", "_on")

    def __init__(self, on: float, off: float, labels: Sequence[str]) -> None:
        """With off <= on; `labels` name the outputs, in order."""
        self._on = on
        self._off = off
        self._labels = {label: i for i, label in enumerate(labels)}
        self._held: str | None = None

    def push(self, result: Result) -> Result:
        """The result with the steadied label and score."""
        own = self._own_score(result)
        if self._held is not None and not own >= self._off:  # NaN holds nothing
            self._held = None
        if result.label is not None and result.score >= self._on:
            self._held = result.label
        score = self._own_score(result) if self._held is not None else result.score
        return result._replace(label=self._held, score=score)

    def _own_score(self, result: Result) -> float:
        if self._held == result.label:
            return result.score
        at = self._labels.get(self._held) if self._held is not None else None
        return result.outputs[at] if at is not None and at < len(result.outputs) else 0.0

    def reset(self) -> None:
        """Forget what came before."""
        self._held = None


def steadies_labels(outputs: OutputSpec) -> bool:
    """Whether a label is decided over time, and the outputs of one window are not to be asked."""
    return (outputs.smoothing or {}).get("kind") in ("votes", "hysteresis")


def smoother(outputs: OutputSpec) -> Smoother | None:
    """What the manifest asks for; None where it asks for nothing.

    Raises:
        ManifestError: an unknown kind or key, or a number out of its bounds.
    """
    if outputs.smoothing is None:
        return None
    fields = Fields(outputs.smoothing, "manifest.outputs.smoothing", ManifestError)
    kind = fields.text("kind")
    if kind not in KINDS:
        raise ManifestError(
            f"outputs.smoothing.kind {kind!r} is none of {', '.join(KINDS)}{nearest(kind, KINDS)}"
        )
    if outputs.task in _MEANINGLESS[kind]:
        raise ManifestError(f"outputs.smoothing {kind!r} has no meaning for {outputs.task}")
    made = KINDS[kind](fields, outputs)
    fields.finish()
    return made


def _votes(fields: Fields, _: OutputSpec) -> Smoother:
    k, n = fields.integer("k"), _count(fields)
    if not n / 2 < k <= n:
        raise ManifestError(f"outputs.smoothing: k is {k}; more than half of n ({n}), at most n")
    return Votes(k, n)


def _mean(fields: Fields, outputs: OutputSpec) -> Smoother:
    return Mean(_count(fields), outputs)


def _hysteresis(fields: Fields, outputs: OutputSpec) -> Smoother:
    on, off = fields.number("on"), fields.number("off")
    if off > on:
        raise ManifestError(f"outputs.smoothing: off is {off}; it should not be above on ({on})")
    return Hysteresis(on, off, outputs.labels)


def _count(fields: Fields) -> int:
    n = fields.integer("n")
    if not 1 <= n <= MAX_WINDOWS:
        raise ManifestError(f"outputs.smoothing: n is {n}; it should be 1 to {MAX_WINDOWS}")
    return n


def _mean_of(column: tuple[float, ...]) -> float:
    try:
        return math.fsum(column) / len(column)
    except ValueError:  # of what is infinite either way there is no mean
        return math.nan


def _decide(means: tuple[float, ...], outputs: OutputSpec) -> tuple[str | None, float]:
    if not means or math.isnan(sum(means)):
        return None, math.nan
    if outputs.task == "anomaly":
        limit = math.inf if outputs.threshold is None else outputs.threshold
        return ("anomaly" if means[0] > limit else "normal"), means[0]
    if outputs.task == "regression" or len(means) != len(outputs.labels):
        return None, means[0]
    score = max(means)
    default = 0.5 if outputs.task == "multilabel" else -math.inf
    threshold = default if outputs.threshold is None else outputs.threshold
    return (outputs.labels[means.index(score)] if score >= threshold else None), score


_MEANINGLESS: Final = {
    "votes": ("regression", "embedding"),
    "mean": ("detection", "embedding"),
    "hysteresis": ("regression", "anomaly", "detection", "embedding"),
}
KINDS: Final[Mapping[str, Callable[[Fields, OutputSpec], Smoother]]] = {
    "votes": _votes,
    "mean": _mean,
    "hysteresis": _hysteresis,
}
