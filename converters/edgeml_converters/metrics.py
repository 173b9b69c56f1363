"""How good a model is, as one number for each task.

Scores come from dequantised outputs, turned into `answers` by the task. How sure
a difference between two scores is, `interval.py` says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import ConfigError, nearest
from edgeml.manifest import OutputSpec

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metric:
    """A score.

    Attributes:
        name: as on the command line.
        function: (answers, truth) to a float; answers from `answers`.
        higher_is_better: which way is good.
        relative: whether a drop is measured as a share of the reference's value.
    """

    name: str
    function: Callable[[Wide, npt.NDArray[Any]], float]
    higher_is_better: bool = True
    relative: bool = False


def _accuracy(answers: Wide, truth: npt.NDArray[Any]) -> float:
    return float(np.mean(answers.argmax(1) == truth))


def _f1(answers: Wide, truth: npt.NDArray[Any]) -> float:
    """The mean over classes of 2 TP / (2 TP + FP + FN); a class nobody has counts for nothing."""
    chosen = answers.argmax(1)
    scores = []
    for label in np.unique(truth):
        hit = np.sum((chosen == label) & (truth == label))
        wrong = np.sum((chosen == label) != (truth == label))
        scores.append(2 * hit / (2 * hit + wrong))
    return float(np.mean(scores))


def _auc(answers: Wide, truth: npt.NDArray[Any]) -> float:
    """Of an anomaly's score; of classes the mean of each one's against the rest."""
    if answers.shape[1] == 1:
        return _above(answers[:, 0], truth.astype(bool))
    if answers.shape[1] == 2:
        return _above(answers[:, 1] - answers[:, 0], truth == 1)
    return float(np.mean([_above(answers[:, k], truth == k) for k in np.unique(truth)]))


def _above(scores: Wide, positive: npt.NDArray[np.bool_]) -> float:
    """The chance that a positive scores above a negative (Mann and Whitney, 1947)."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return 0.5
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse.reshape(-1)]
    rank_sum = float(mean_rank[positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def _mse(answers: Wide, truth: npt.NDArray[Any]) -> float:
    return float(np.mean((answers - truth.reshape(answers.shape)) ** 2))


METRICS: Final[Mapping[str, Metric]] = {
    "accuracy": Metric("accuracy", _accuracy),
    "f1": Metric("f1", _f1),
    "auc": Metric("auc", _auc),
    "mse": Metric("mse", _mse, higher_is_better=False, relative=True),
}
"""Metrics that need labels; `agreement` needs none and is computed against the float model."""

_DEFAULTS: Final[Mapping[str, str]] = {
    "classification": "accuracy",
    "anomaly": "auc",
    "regression": "mse",
}

_FITTING: Final[Mapping[str, tuple[str, ...]]] = {
    "classification": ("accuracy", "f1", "auc"),
    "anomaly": ("auc", "accuracy", "f1"),
    "regression": ("mse",),
}


def choose_metric(name: str | None, outputs: OutputSpec, *, labelled: bool) -> str:
    """The metric to judge by.

    Raises:
        ConfigError: an unknown one, or one that this task or these data cannot give.
    """
    known = (*METRICS, "agreement")
    if name is not None and name not in known:
        raise ConfigError(f"metric {name!r} is none of {', '.join(known)}{nearest(name, known)}")
    chosen = name or (_DEFAULTS.get(outputs.task, "agreement") if labelled else "agreement")
    if chosen == "agreement":
        return chosen
    if not labelled:
        raise ConfigError(f"metric {chosen!r} needs labels; give some, or use 'agreement'")
    fitting = _FITTING.get(outputs.task, ())
    if chosen not in fitting:
        raise ConfigError(
            f"metric {chosen!r} does not fit the task {outputs.task!r}; "
            f"{' or '.join((*fitting, 'agreement'))} would"
        )
    if outputs.task == "anomaly" and chosen != "auc" and outputs.threshold is None:
        raise ConfigError(
            f"metric {chosen!r} needs the threshold from which an anomaly counts; name it in the "
            "spec, or use 'auc'"
        )
    return chosen


def answers(task: str, outputs: Floats, inputs: Floats) -> Wide:
    """What the outputs say, as one row a window.

    Args:
        task: of the manifest.
        outputs: float32 (n, ...), dequantised.
        inputs: float32 (n, ...), preprocessed: an anomaly is judged by how badly
            a model reconstructs them.

    Returns:
        float64 (n, k): the outputs themselves, or one column with the anomaly score.
    """
    rows = outputs.reshape(len(outputs), -1).astype(np.float64)
    if task != "anomaly" or rows.shape[1] == 1:
        return rows
    expected = inputs.reshape(len(inputs), -1)
    error: Wide = np.mean((rows - expected) ** 2, axis=1, keepdims=True)
    return error


def decided(scores: Wide, threshold: float) -> Wide:
    """One column with an anomaly's score as two, normal and anomaly, the larger of which counts."""
    return np.concatenate([threshold - scores, scores - threshold], axis=1)


def agreement(task: str, ours: Wide, reference: Wide, threshold: float | None) -> Wide:
    """For each window how far two models agree, 0 to 1.

    Classification: the same winner. Anomaly, multi-label: the same side of the
    threshold (0.5 where there is none). Everything else: 1 - |difference| / spread,
    spread being the reference's standard deviation, not below 0.
    """
    if task == "classification":
        same: Wide = (ours.argmax(1) == reference.argmax(1)).astype(np.float64)
        return same
    if task in ("anomaly", "multilabel"):
        limit = 0.5 if threshold is None else threshold
        sides: Wide = np.mean((ours > limit) == (reference > limit), axis=1)
        return sides
    spread = float(reference.std()) or 1.0
    close: Wide = np.clip(1 - np.abs(ours - reference) / spread, 0, 1).mean(1)
    return close
