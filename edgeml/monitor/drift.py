"""Whether what a model meets, and what it says, is spread as it was when the model was judged.

The reference is the bundle's `baseline.json`. Each thousand windows, a second
apart at least and none of them twice, are held against it by the population
stability index, beside what chance alone would give (Yurdakul, 2018). Sensors
that give something else explain any answers, so answers are judged only where the
windows are what they were: then it is the model that changed, not the world.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from edgeml.arrays import Floats
from edgeml.errors import BundleError
from edgeml.jsonread import Fields
from edgeml.manifest import InputSpec

STRETCH: Final = 1000
"""Windows that are judged together."""

_LEAST_LEVEL: Final = 0.25
"""The index from which a spread counts as another one, however many windows prove less."""

_Z: Final = 3.719
"""Of the normal distribution, exceeded once in ten thousand times."""

_LONE: Final = 20
"""Of windows without a rate, such as pictures, so many go by for one that is counted."""


class Drifted(NamedTuple):
    """What is spread otherwise than it was.

    Attributes:
        of: "inputs" where the sensors give something else; "reference" where they do not, but
            this model was judged on something else than its predecessor; "outputs" where the
            model answers otherwise to what it was judged on.
        feature: the worst of them: a channel with its statistic, or an output.
        psi: its population stability index.
        level: that chance exceeds once in ten thousand times, 0.25 at the least.
    """

    of: str
    feature: str
    psi: float
    level: float


class Histogram(NamedTuple):
    """How one number was spread over the reference windows, as docs/bundle.md says."""

    feature: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]


class Reference(NamedTuple):
    """What was normal: two histograms a channel (mean and std of a window), one an output."""

    inputs: tuple[Histogram, ...]
    outputs: tuple[Histogram, ...]

    @classmethod
    def read(cls, baseline: Mapping[str, Any], channels: int) -> "Reference":
        """From a bundle's baseline.

        Raises:
            BundleError: it is not of this version, or not of a model with so many channels.
        """
        fields = Fields(baseline, "baseline.json", BundleError, ignore_unknown=True)
        if not fields.text("schema").startswith("1."):
            raise BundleError("baseline.json is of a later schema; a newer edgeml may know it")
        inputs = tuple(map(_histogram, fields.children("inputs")))
        if len(inputs) != 2 * channels:
            raise BundleError(f"baseline.json has {len(inputs)} inputs for {channels} channels")
        return cls(inputs, tuple(map(_histogram, fields.children("outputs"))))


def psi(counts: Sequence[int], reference: Sequence[int]) -> float:
    """The population stability index of two histograms over the same bins.

    Half a count is added to each bin, so that an empty one costs much and not everything.
    """
    bins, n, reference_n = len(counts), sum(counts), sum(reference)
    total = 0.0
    for count, expected in zip(counts, reference, strict=True):
        p = (count + 0.5) / (n + 0.5 * bins)
        q = (expected + 0.5) / (reference_n + 0.5 * bins)
        total += (p - q) * math.log(p / q)
    return total


def alarm_level(n: int, reference_n: int, bins: int) -> float:
    """The index that chance alone exceeds once in ten thousand times, 0.25 at the least.

    Without drift it is spread as (1/n + 1/reference_n) times a chi-square with bins - 1 degrees
    of freedom, whose quantile is Wilson and Hilferty's (1931).
    """
    free = max(bins - 1, 1)
    share = 2 / (9 * free)
    quantile = free * (1 - share + _Z * math.sqrt(share)) ** 3
    return max(_LEAST_LEVEL, (1 / n + 1 / max(reference_n, 1)) * quantile)


class Drift:
    """Counts one model's windows and answers, a stretch at a time.

    Args:
        reference: what was normal.
        inputs: says how far windows lie apart.
        before: of the model that was replaced: what drifted under it already is not told again.

    Attributes:
        reference: as given.
        drifting: what is otherwise and was told: "inputs", "outputs".
        steady: whether the inputs of the last stretch were what they should be; False where
            there was none.
    """

    def __init__(
        self, reference: Reference, inputs: InputSpec, before: "Drift | None" = None
    ) -> None:
        self.reference = reference
        self._channels = len(inputs.channels)
        rate = inputs.sample_rate_hz
        apart = _LONE if rate is None else max(rate, inputs.window) / inputs.stride
        self._every = max(1, math.ceil(apart))
        self._wait = 0
        self.drifting: set[str] = set() if before is None else set(before.drifting)
        self.steady: bool = before is not None and before.steady
        self._others = before is not None and before.reference.inputs != reference.inputs
        self._begin()

    def add(self, window: Floats, outputs: Sequence[float]) -> Drifted | None:
        """Take a window and the model's answer into account, before it is steadied.

        Returns:
            What has begun to be otherwise; None most of the time, and while it stays so.
        """
        if self._wait:
            self._wait -= 1
            return None
        self._wait = self._every - 1
        series = np.asarray(window).reshape(-1, self._channels)
        values = np.stack((series.mean(0, np.float64), series.std(0, np.float64)), 1).ravel()
        _count(self._inputs, self.reference.inputs, values.tolist())
        if len(outputs) == len(self.reference.outputs):
            _count(self._outputs, self.reference.outputs, outputs)
            self._answers += 1
        self._seen += 1
        return self._judge() if self._seen == STRETCH else None

    def _begin(self) -> None:
        self._seen = self._answers = 0
        self._inputs = [[0] * len(one.counts) for one in self.reference.inputs]
        self._outputs = [[0] * len(one.counts) for one in self.reference.outputs]

    def _judge(self) -> Drifted | None:
        inputs = _worst("inputs", self._inputs, self.reference.inputs)
        whole = self._answers == self._seen
        outputs = _worst("outputs", self._outputs, self.reference.outputs) if whole else None
        steady, others = self.steady, self._others
        self._begin()
        self.steady, self._others = inputs is None, False
        if inputs is not None:
            found = inputs._replace(of="reference") if steady and others else inputs
            return self._news("inputs", found)
        self.drifting.discard("inputs")
        if outputs is None:
            self.drifting.discard("outputs")
        return outputs and self._news("outputs", outputs)

    def _news(self, kind: str, found: Drifted) -> Drifted | None:
        known = kind in self.drifting
        self.drifting.add(kind)
        return None if known else found


def _count(
    counts: list[list[int]], reference: Sequence[Histogram], values: Sequence[float]
) -> None:
    for bins, one, value in zip(counts, reference, values, strict=True):
        bins[bisect_right(one.edges, value)] += 1


def _worst(
    of: str, counts: Sequence[Sequence[int]], reference: Sequence[Histogram]
) -> Drifted | None:
    """The feature that is furthest above what chance gives; None where none is above."""
    found: Drifted | None = None
    for bins, one in zip(counts, reference, strict=True):
        level = alarm_level(sum(bins), sum(one.counts), len(bins))
        index = psi(bins, one.counts)
        if index > level and (found is None or index / level > found.psi / found.level):
            found = Drifted(of, one.feature, index, level)
    return found


def _histogram(fields: Fields) -> Histogram:
    edges, counts = fields.numbers("edges"), fields.integers("counts")
    if len(counts) != len(edges) + 1 or list(edges) != sorted(edges) or min(counts) < 0:
        raise BundleError(f"{fields.path} is no histogram: its counts do not lie between its edges")
    return Histogram(f"{fields.text('name')} {fields.text('statistic')}", edges, counts)
