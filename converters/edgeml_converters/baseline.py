"""What was normal when the model was made: the reference that a device's monitor compares with.

This module defines `baseline.json`, schema 1. All counts come from the windows
the model was judged on, held out from training where there are such. Edges are
inner ones, at quantiles: `counts[0]` is everything below `edges[0]`, the last
count everything from the last edge on, so no value falls outside. A bin's
value `v` lies in bin `searchsorted(edges, v, side="right")`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.manifest import InputSpec, OutputSpec
from edgeml_converters.samples import Floats, Labels

SCHEMA: Final = "1.0"
MAX_BINS: Final = 10
WINDOWS_A_BIN: Final = 5
"""With fewer, the chi-square approximation behind the PSI fails (Cochran, 1954)."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How one number was spread over the reference windows.

    Attributes:
        name: the channel's or the output's.
        statistic: "mean" or "std" of a channel over one raw window; "value" of an output.
        edges: inner bin edges, strictly increasing; none where the number never varied.
        counts: windows a bin, one more than there are edges.
    """

    name: str
    statistic: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The whole reference.

    Attributes:
        windows: how many there were.
        inputs: two a channel, mean and std, in the order of the channels.
        outputs: one for each output; for an anomaly one, its score.
        knots: (confidence, accuracy) pairs, both increasing: between them the chance
            that the winning label is right is interpolated. Empty without labels.
    """

    windows: int
    inputs: tuple[Histogram, ...]
    outputs: tuple[Histogram, ...]
    knots: tuple[tuple[float, float], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The content of baseline.json."""
        return {
            "schema": SCHEMA,
            "windows": self.windows,
            "inputs": [_as_json(histogram) for histogram in self.inputs],
            "outputs": [_as_json(histogram) for histogram in self.outputs],
            "knots": [list(knot) for knot in self.knots],
        }


def make_baseline(
    windows: Floats,
    scores: npt.NDArray[np.float64],
    labels: Labels | None,
    inputs: InputSpec,
    outputs: OutputSpec,
) -> Baseline:
    """Summarise what a model meets and says.

    Args:
        windows: float32 (n, *inputs.shape), raw.
        scores: (n, k), the numbers that a device's results on them hold.
        labels: (n,) class indices of a classification, or None.
        inputs: names the channels.
        outputs: names the outputs.
    """
    series = windows.reshape(len(windows), -1, inputs.shape[-1]).astype(np.float64)
    spread = {"mean": series.mean(1), "std": series.std(1)}
    channel_histograms = [
        _histogram(channel.name, statistic, values[:, i])
        for i, channel in enumerate(inputs.channels)
        for statistic, values in spread.items()
    ]
    names = _output_names(outputs, scores.shape[1])
    knots: tuple[tuple[float, float], ...] = ()
    if outputs.task == "classification" and labels is not None:
        knots = confidence_knots(scores.max(1), scores.argmax(1) == labels)
    return Baseline(
        windows=len(windows),
        inputs=tuple(channel_histograms),
        outputs=tuple(_histogram(name, "value", scores[:, i]) for i, name in enumerate(names)),
        knots=knots,
    )


def confidence_knots(
    confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]
) -> tuple[tuple[float, float], ...]:
    """How often the model is right, as a function of how sure it says it is.

    Isotonic regression by pooling adjacent violators (Zadrozny and Elkan, 2002):
    one knot at each pooled block's mean confidence.
    """
    order = np.argsort(confidence, kind="stable")
    blocks: list[tuple[float, float, int]] = []  # sum of confidence, sum of right, windows
    for sure, hit in zip(confidence[order], right[order], strict=True):
        block = (float(sure), float(hit), 1)
        while blocks and blocks[-1][1] / blocks[-1][2] >= block[1] / block[2]:
            last = blocks.pop()
            block = (last[0] + block[0], last[1] + block[1], last[2] + block[2])
        blocks.append(block)
    knots: dict[float, float] = {}
    for sure, hits, n in blocks:
        knots[_short(sure / n)] = _short(hits / n)
    return tuple(sorted(knots.items()))


def _histogram(name: str, statistic: str, values: npt.NDArray[np.float64]) -> Histogram:
    bins = min(MAX_BINS, max(2, len(values) // WINDOWS_A_BIN))
    quantiles = np.quantile(values, np.arange(1, bins) / bins)
    edges = sorted({_short(edge) for edge in quantiles if edge > values.min()})
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return Histogram(name, statistic, tuple(edges), tuple(int(n) for n in counts))


def _output_names(outputs: OutputSpec, n: int) -> Sequence[str]:
    if outputs.task == "anomaly":
        return ["score"] if n == 1 else [f"score{i}" for i in range(n)]
    if len(outputs.labels) == n:
        return outputs.labels
    return [f"output{i}" for i in range(n)]


def _short(value: float) -> float:
    """Six significant digits: enough for a bin's edge, and the file stays small."""
    return float(f"{value:.6g}")


def _as_json(histogram: Histogram) -> Mapping[str, Any]:
    return {
        "name": histogram.name,
        "statistic": histogram.statistic,
        "edges": list(histogram.edges),
        "counts": list(histogram.counts),
    }
