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
from edgeml.runtime.postprocess import sigmoid

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metric:
    """A score.

    Attributes:
        name: as on the command line.
        function: (answers, truth) to a float; answers from `answers`.
        higher_is_better: which way is good.
        relative: whether a drop is measured as a share of the reference's value, and of
            several outputs the one's that loses most, since each may be of another size.
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

_STILL: Final = 1e-6
"""Of a column's size: below, what varies is the rounding of float32."""

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


def choose_metric(
    name: str | None, outputs: OutputSpec, truth: npt.NDArray[Any] | None
) -> tuple[str, str | None]:
    """The metric to judge by, and a warning where it is not the one that the task would have.

    Args:
        name: that was asked for; None is what fits.
        outputs: the task.
        truth: as `samples.check_labels` gives them; None where nobody knows them.

    Raises:
        ConfigError: an unknown one, or one that this task or these data cannot give.
    """
    known = (*METRICS, "agreement")
    if name is not None and name not in known:
        raise ConfigError(f"metric {name!r} is none of {', '.join(known)}{nearest(name, known)}")
    chosen = name or ("agreement" if truth is None else _DEFAULTS.get(outputs.task, "agreement"))
    if chosen == "agreement":
        unused = (
            f"the labels count for nothing: no metric knows what they say of the task "
            f"{outputs.task!r}, so files are judged by agreement with the float model"
        )
        return chosen, None if truth is None or name is not None else unused
    if truth is None:
        raise ConfigError(f"metric {chosen!r} needs labels; give some, or use 'agreement'")
    if chosen == "auc" and len(np.unique(truth)) < 2:
        if name is None:
            return "agreement", (
                "the labels are all of one kind, which no area under a curve can be told from: "
                "judged by agreement with the float model; add windows of the other kind"
            )
        raise ConfigError(
            f"metric {chosen!r} needs windows of two kinds at least, and the labels are all of "
            "one; add some, or use 'agreement'"
        )
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
    return chosen, None


def answers(task: str, outputs: Floats, inputs: Floats, *, logits: bool = False) -> Wide:
    """What the outputs say, as one row a window.

    Args:
        task: of the manifest.
        outputs: float32 (n, ...), dequantised.
        inputs: float32 (n, ...), preprocessed: an anomaly is judged by how badly
            a model reconstructs them.
        logits: whether a device puts a sigmoid behind the outputs.

    Returns:
        float64 (n, k): the outputs themselves; two columns for a classifier that gives the
        chance of its second class alone; one column with an anomaly's score.
    """
    rows = outputs.reshape(len(outputs), -1).astype(np.float64)
    if logits:
        rows = sigmoid(rows)
    if task == "classification" and rows.shape[1] == 1:
        # A device says the second class from 0.5 on: an even chance is its, not the first one's.
        return np.concatenate([np.nextafter(1 - rows, -1), rows], axis=1)
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
    spread being the reference's standard deviation, not below 0. The numbers of a
    regression may differ in size, so each has a spread of its own, and the one that agrees
    least is told; those of an embedding or a detector are one answer.
    """
    if task == "classification":
        same: Wide = (ours.argmax(1) == reference.argmax(1)).astype(np.float64)
        return same
    if task in ("anomaly", "multilabel"):
        limit = 0.5 if threshold is None else threshold
        above = np.greater if task == "anomaly" else np.greater_equal
        sides: Wide = np.mean(above(ours, limit) == above(reference, limit), axis=1)
        return sides
    each = task == "regression"
    spread = spreads(reference) if each else np.float64(reference.std() or 1.0)
    close: Wide = np.clip(1 - np.abs(ours - reference) / spread, 0, 1)
    return close[:, int(close.mean(0).argmin())] if each else close.mean(1)


def spreads(columns: Wide) -> Wide:
    """Each column's standard deviation; how large it is at most where it hardly varies, or 1."""
    deviation, size = columns.std(0), np.abs(columns).max(0)
    still = deviation <= _STILL * size
    made: Wide = np.where(still, np.where(size > 0, size, 1.0), deviation)
    return made


def larger_error(ours: Wide, reference: Wide, truth: Wide, negligible: Wide) -> float:
    """How much larger the squared error is than the reference's, as a share of that.

    Args:
        ours: (n, k).
        reference: (n, k), what is compared with.
        truth: (n, k).
        negligible: (k,), a squared error below which nothing is a share of anything.

    Returns:
        The share of the column that loses most.
    """
    before = np.mean((reference - truth) ** 2, axis=0)
    after = np.mean((ours - truth) ** 2, axis=0)
    return float(np.max((after - before) / np.maximum(before, negligible)))
