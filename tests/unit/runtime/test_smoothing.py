"""Answers over time: what flickers is held back, what lasts comes through, memory is bounded."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.errors import ManifestError
from edgeml.manifest import OutputSpec
from edgeml.result import ModelRef, Result
from edgeml.runtime.smoothing import smoother

REF = ModelRef("m", 1, "0" * 64)
LABELS = ("a", "b")


def result(label: str | None, score: float = 1.0, outputs: tuple[float, ...] = ()) -> Result:
    return Result(REF, 0.0, 1.0, label, score, outputs, 1.0, 2.0, 3.0)


def spec(
    smoothing: Mapping[str, Any],
    task: str = "classification",
    threshold: float | None = None,
) -> OutputSpec:
    labels = LABELS if task in ("classification", "multilabel") else ()
    return OutputSpec(task, labels, threshold, smoothing=smoothing)


def labels_after(smoothing: Mapping[str, Any], given_labels: str) -> str:
    """Labels as letters; a dot for none."""
    made = smoother(spec(smoothing))
    assert made is not None
    out = [made.push(result(None if c == "." else c)).label for c in given_labels]
    return "".join("." if label is None else label for label in out)


@pytest.mark.parametrize(
    ("k", "n", "given_labels", "expected"),
    [
        (2, 3, "aabaabb", ".aaaaab"),
        (1, 1, "abab", "abab"),
        (3, 3, "aaabaaab", "..aaaaaa"),
        (3, 5, "ababa", "....a"),
        (2, 2, "aa..b", ".aa.."),
    ],
)
def test_a_label_needs_its_votes(k: int, n: int, given_labels: str, expected: str) -> None:
    assert labels_after({"kind": "votes", "k": k, "n": n}, given_labels) == expected


def test_the_score_of_votes_is_the_mean_of_those_for_the_label() -> None:
    made = smoother(spec({"kind": "votes", "k": 2, "n": 3}))
    assert made is not None
    made.push(result("a", 0.5))
    made.push(result("b", 0.9))
    assert made.push(result("a", 1.0)).score == 0.75


@given(st.text("ab", min_size=1, max_size=60), st.integers(1, 9))
def test_a_steady_label_always_comes_through_within_k_windows(noise: str, n: int) -> None:
    k = n // 2 + 1
    assert labels_after({"kind": "votes", "k": k, "n": n}, noise + "a" * n)[-1] == "a"


def test_the_mean_of_outputs_decides() -> None:
    made = smoother(spec({"kind": "mean", "n": 2}, threshold=0.6))
    assert made is not None
    assert made.push(result("a", 0.75, (0.75, 0.25))).label == "a"
    second = made.push(result("b", 0.75, (0.25, 0.75)))
    assert (second.label, second.score, second.outputs) == (None, 0.5, (0.5, 0.5))
    assert made.push(result("b", 0.75, (0.25, 0.75))).label == "b"


def test_the_mean_of_an_anomalys_score_is_held_against_the_threshold() -> None:
    made = smoother(spec({"kind": "mean", "n": 2}, "anomaly", 1.0))
    assert made is not None
    assert made.push(result("anomaly", 1.5, (1.5,))).label == "anomaly"
    assert made.push(result("normal", 0.25, (0.25,))).label == "normal"


def test_the_mean_of_a_regression_is_its_score() -> None:
    made = smoother(spec({"kind": "mean", "n": 4}, "regression"))
    assert made is not None
    values = [made.push(result(None, v, (v,))).score for v in (1.0, 2.0, 3.0, 6.0, 5.0)]
    assert values == [1, 1.5, 2, 3, 4]


def test_hysteresis_takes_a_label_high_and_holds_it_until_it_is_low() -> None:
    made = smoother(spec({"kind": "hysteresis", "on": 0.8, "off": 0.5}))
    assert made is not None

    def push(a: float) -> str | None:
        label, score = ("a", a) if a >= 0.5 else ("b", 1 - a)
        return made.push(result(label, score, (a, 1 - a))).label

    assert [push(a) for a in (0.7, 0.9, 0.6, 0.55, 0.45, 0.3, 0.1, 0.4)] == [
        *(None, "a", "a", "a", None, None, "b", "b"),
    ]


@pytest.mark.parametrize(
    "smoothing",
    [
        {"kind": "votes", "k": 3, "n": 5},
        {"kind": "mean", "n": 5},
        {"kind": "hysteresis", "on": 0.8, "off": 0.5},
    ],
    ids=lambda s: s["kind"],
)
def test_after_a_reset_it_is_as_new(smoothing: Mapping[str, Any]) -> None:
    used, fresh = smoother(spec(smoothing)), smoother(spec(smoothing))
    assert used is not None
    assert fresh is not None
    for _ in range(7):
        used.push(result("b", 0.9, (0.1, 0.9)))
    used.reset()
    again = [result("a", 0.9, (0.9, 0.1)), result("a", 0.6, (0.6, 0.4))]
    assert [used.push(r) for r in again] == [fresh.push(r) for r in again]


def test_everything_else_of_a_result_is_left_alone() -> None:
    made = smoother(spec({"kind": "votes", "k": 1, "n": 1}))
    assert made is not None
    before = result("a", 0.5, (0.5, 0.5))
    assert made.push(before) == before


def test_no_smoothing_is_none() -> None:
    assert smoother(OutputSpec("classification", LABELS)) is None


@pytest.mark.parametrize("outputs", [(math.nan, 0.5), (0.5, math.nan)])
def test_a_nan_outputs_mean_is_nan_and_names_no_label(outputs: tuple[float, ...]) -> None:
    made = smoother(spec({"kind": "mean", "n": 2}))
    assert made is not None
    steadied = made.push(result(None, math.nan, outputs))
    assert steadied.label is None
    assert math.isnan(steadied.score)


def test_a_mean_of_what_is_infinite_both_ways_is_no_number() -> None:
    made = smoother(spec({"kind": "mean", "n": 2}, "regression"))
    assert made is not None
    assert made.push(result(None, math.inf, (math.inf,))).score == math.inf
    assert math.isnan(made.push(result(None, -math.inf, (-math.inf,))).score)
    assert made.push(result(None, -math.inf, (-math.inf,))).score == -math.inf
    made = smoother(spec({"kind": "mean", "n": 2}))
    assert made is not None
    steadied = made.push(result(None, math.nan, (math.inf, -math.inf)))
    assert (steadied.label, math.isnan(steadied.score)) == (None, True)


def test_hysteresis_holds_no_label_through_a_model_that_gives_nan() -> None:
    made = smoother(spec({"kind": "hysteresis", "on": 0.8, "off": 0.5}))
    assert made is not None
    assert made.push(result("a", 0.9, (0.9, 0.1))).label == "a"
    broken = made.push(result(None, math.nan, (math.nan, 0.1)))
    assert broken.label is None
    assert math.isnan(broken.score)


@pytest.mark.parametrize(
    ("smoothing", "task", "message"),
    [
        ({"kind": "vote", "k": 1, "n": 1}, "classification", "did you mean 'votes'"),
        ({"kind": "votes", "k": 2, "n": 4}, "classification", "more than half"),
        ({"kind": "votes", "k": 4, "n": 3}, "classification", "more than half"),
        ({"kind": "votes", "k": 1}, "classification", "n is missing"),
        ({"kind": "mean", "n": 0}, "classification", "1 to 10000"),
        ({"kind": "mean", "n": 10**9}, "classification", "1 to 10000"),
        ({"kind": "mean", "n": 5, "m": 1}, "classification", "did you mean 'n'|not a known key"),
        ({"kind": "mean", "n": 5}, "embedding", "no meaning for embedding"),
        ({"kind": "votes", "k": 1, "n": 1}, "regression", "no meaning for regression"),
        ({"kind": "hysteresis", "on": 0.5, "off": 0.8}, "classification", "not be above on"),
        ({"kind": "hysteresis", "on": 1, "off": 0}, "regression", "no meaning for regression"),
        ({}, "classification", "kind is missing"),
    ],
)
def test_a_manifest_that_asks_for_the_impossible_is_refused(
    smoothing: Mapping[str, Any], task: str, message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        smoother(spec(smoothing, task))
