"""Judges one .tflite against the float model, on the same windows, by the task's metric."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import InputError, ManifestError
from edgeml.jsonread import Fields
from edgeml.manifest import OutputSpec
from edgeml.runtime.graph import read_graph
from edgeml.runtime.postprocess import activation_of, sigmoid
from edgeml_converters.interval import paired_bootstrap, paired_shares
from edgeml_converters.metrics import (
    METRICS,
    agreement,
    answers,
    decided,
    larger_error,
    spreads,
)

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]

NEGLIGIBLE: Final = 1e-6
"""Of the variance of what is to be told: a float model that is nearer to it makes no error."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a model compares with the float one.

    Attributes:
        score: by the metric.
        score_float: the float model's.
        drop: how much worse, positive is worse; relative where the metric is unbounded.
        drop_low: lower end of its 95 % interval.
        drop_high: upper end of it.
        rmse: over all outputs, dequantised, against the float model's.
        agreement: with the float model, 0 to 1.
    """

    score: float
    score_float: float
    drop: float
    drop_low: float
    drop_high: float
    rmse: float
    agreement: float


class Judge:
    """The float model's answers on the evaluation windows, and the metric to compare by.

    Attributes:
        metric: that scores are of.
        inputs: (n, *model input), preprocessed.
        reference: (n, *model output), of the float model on them.
        reference_answers: the same as `metrics.answers`.
    """

    def __init__(
        self,
        outputs: OutputSpec,
        metric: str,
        inputs: Floats,
        reference: Floats,
        truth: npt.NDArray[Any] | None,
        *,
        logits: bool = False,
    ) -> None:
        """Take the reference.

        Args:
            outputs: the task.
            metric: one of `METRICS`, or "agreement".
            inputs: (n, *model input), preprocessed.
            reference: (n, *model output), of the float model on them.
            truth: as `samples.check_labels` gives them; None only for "agreement".
            logits: as `gives_logits` says.

        Raises:
            InputError: a regression's labels are not as many as its outputs.
        """
        self.metric = metric
        self.inputs = inputs
        self.reference = reference
        self._outputs = outputs
        self._truth = truth
        self._logits = logits
        self.reference_answers = self.answers(reference)
        if metric == "mse" and truth is not None and truth.size != self.reference_answers.size:
            raise InputError(
                f"labels {list(truth.shape)} for {len(reference)} windows, to each of which the "
                f"model answers {self.reference_answers.shape[1]} numbers: give as many, name "
                "another task in the spec, or judge by --metric agreement"
            )

    def answers(self, made: Floats, inputs: Floats | None = None) -> Wide:
        """What outputs say, as `metrics.answers`; to other windows where they are given."""
        given = self.inputs if inputs is None else inputs
        return answers(self._outputs.task, made, given, logits=self._logits)

    def agreeing(self, ours: Wide, reference: Wide) -> Wide:
        """For each window how far two of what `answers` gives agree, 0 to 1."""
        return agreement(self._outputs.task, ours, reference, self._outputs.threshold)

    def judge(self, made: Floats) -> Verdict:
        """Compare outputs, (n, *model output), dequantised."""
        ours = self.answers(made)
        agreeing = self.agreeing(ours, self.reference_answers)
        score, score_float, drop, (low, high) = self._compare(ours, agreeing)
        difference = made.astype(np.float64) - self.reference
        return Verdict(
            score=score,
            score_float=score_float,
            drop=drop,
            drop_low=low,
            drop_high=high,
            rmse=float(np.sqrt(np.mean(difference**2))),
            agreement=float(agreeing.mean()),
        )

    def _compare(
        self, ours: Wide, agreeing: Wide
    ) -> tuple[float, float, float, tuple[float, float]]:
        if self.metric == "agreement" or self._truth is None:
            score = float(agreeing.mean())
            if set(np.unique(agreeing)) <= {0.0, 1.0}:
                interval = paired_shares(np.ones(len(agreeing), bool), agreeing == 1)
            else:
                interval = paired_bootstrap(lambda i: 1 - float(agreeing[i].mean()), len(agreeing))
            return score, 1.0, 1 - score, interval
        theirs, truth = self._scored(self.reference_answers), self._truth
        ours = self._scored(ours)
        metric = METRICS[self.metric]
        sign = 1.0 if metric.higher_is_better else -1.0

        wide = truth.reshape(len(truth), -1).astype(np.float64)
        negligible = NEGLIGIBLE * spreads(wide) ** 2

        def drop_of(rows: npt.NDArray[np.int64] | slice) -> float:
            if metric.relative:
                return larger_error(ours[rows], theirs[rows], wide[rows], negligible)
            before = metric.function(theirs[rows], truth[rows])
            return sign * (before - metric.function(ours[rows], truth[rows]))

        if self.metric == "accuracy":
            interval = paired_shares(theirs.argmax(1) == truth, ours.argmax(1) == truth)
        else:
            interval = paired_bootstrap(drop_of, len(truth))
        score, before = metric.function(ours, truth), metric.function(theirs, truth)
        return score, before, drop_of(slice(None)), interval

    def _scored(self, rows: Wide) -> Wide:
        """The answers as the metric takes them: of an anomaly's score, which side it is on."""
        limit = self._outputs.threshold
        if self._outputs.task != "anomaly" or self.metric == "auc" or limit is None:
            return rows
        return decided(rows, limit)

    def chance(self) -> str | None:
        """What to say where the float model is no better than an answer that never looks.

        The rival says the most frequent class, or the mean, to every window. None
        where the model is better by more than chance, or nothing is known of the truth.
        """
        if self.metric == "agreement" or self._truth is None:
            return None
        truth, theirs = self._truth, self._scored(self.reference_answers)
        rival = _blind(self._outputs.task, truth, theirs.shape)
        metric = METRICS[self.metric]
        sign = 1.0 if metric.higher_is_better else -1.0

        def gain_of(rows: npt.NDArray[np.int64]) -> float:
            ours = metric.function(theirs[rows], truth[rows])
            return sign * (ours - metric.function(rival[rows], truth[rows]))

        if self.metric == "accuracy":
            gain, _ = paired_shares(theirs.argmax(1) == truth, rival.argmax(1) == truth)
        else:
            gain, _ = paired_bootstrap(gain_of, len(truth))
        if gain > 0:
            return None
        score, blind = metric.function(theirs, truth), metric.function(rival, truth)
        return (
            f"the float model itself is not measurably better than chance: {self.metric} "
            f"{score:.3g} where one answer for every window gives {blind:.3g} ({len(truth)} "
            "windows); do the labels fit, and is the preprocessing what training used?"
        )


def gives_logits(outputs: OutputSpec, tflite: bytes) -> bool:
    """Whether a device puts a sigmoid behind a file's outputs, by the device's own rule.

    Args:
        outputs: the task, and an activation where the manifest will name one.
        tflite: the float file, whose last operator may be the activation.
    """
    options = Fields(outputs.postprocess or {}, "outputs.postprocess", ManifestError)
    return activation_of(options, read_graph(tflite).final_ops[0], "sigmoid") is sigmoid


def _blind(task: str, truth: npt.NDArray[Any], shape: tuple[int, ...]) -> Wide:
    """The best answer for one who never sees a window, once for each."""
    answer = np.zeros(shape, np.float64)
    if task == "regression":
        answer[:] = truth.reshape(shape).mean(axis=0)
    elif shape[1] > 1:
        answer[:, int(np.bincount(truth).argmax())] = 1.0
    return answer
