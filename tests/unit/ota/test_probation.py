"""A model on probation is judged by its results, and every way to fail has its word."""

import math

import pytest

from edgeml.ota.probation import Incumbent, Limits, Means, Probation
from edgeml.result import ModelRef, Result

MODEL = ModelRef("pump", 2, "ab" * 32)
LIMITS = Limits(windows=100, starts=3, least=20)


def result(score: float, us: float = 100.0, label: str = "ok") -> Result:
    return Result(
        model=MODEL,
        start_s=0.0,
        end_s=1.0,
        label=label,
        score=score,
        outputs=(),
        pre_us=us / 4,
        invoke_us=us / 2,
        post_us=us / 4,
    )


def verdict(probation: Probation, scores: list[float], us: float = 100.0) -> str | None:
    for score in scores:
        reason = probation.push(result(score, us))
        if reason is not None:
            return reason
    return None


def varied(mean: float, n: int) -> list[float]:
    return [mean + 0.01 * (i % 7 - 3) for i in range(n)]


def test_a_model_that_does_as_its_predecessor_did_passes() -> None:
    probation = Probation(LIMITS, Incumbent(100.0, 0.9))
    assert verdict(probation, varied(0.9, 99)) is None
    assert not probation.passed
    assert verdict(probation, varied(0.9, 1)) is None
    assert probation.passed


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_not_finite_ends_it_at_once(score: float) -> None:
    assert str(verdict(Probation(LIMITS, Incumbent()), [0.5, score])).startswith("nan: ")


def test_the_same_answer_to_everything_ends_it() -> None:
    probation = Probation(LIMITS, Incumbent())
    assert verdict(probation, [0.7] * 49) is None
    assert str(verdict(probation, [0.7])).startswith("constant: 50 results")


def test_a_model_slower_than_it_may_be_ends_it() -> None:
    slow = Probation(LIMITS, Incumbent(100.0, 0.9))
    assert verdict(slow, varied(0.9, 19), us=250.0) is None
    assert str(verdict(slow, varied(0.9, 1), us=250.0)).startswith("slow: 250 us a window")
    assert verdict(Probation(LIMITS, Incumbent(100.0, 0.9)), varied(0.9, 50), us=190.0) is None


def test_confidence_that_collapses_ends_it() -> None:
    probation = Probation(LIMITS, Incumbent(100.0, 0.9))
    assert str(verdict(probation, varied(0.5, 20))).startswith("unsure: a mean score of 0.50")


def test_without_a_predecessor_time_and_confidence_are_not_compared() -> None:
    assert verdict(Probation(LIMITS, Incumbent()), varied(0.1, 60), us=1e6) is None


def test_a_process_that_starts_again_and_again_is_a_crash_loop() -> None:
    assert Probation(LIMITS, Incumbent(), starts=3).crashes() is None
    assert str(Probation(LIMITS, Incumbent(), starts=4).crashes()).startswith("crashes: 4 starts")


def test_means_take_a_score_that_is_no_number_for_no_confidence() -> None:
    means = Means()
    assert means.incumbent == Incumbent()
    means.add(result(0.8, 100.0))
    means.add(result(math.nan, 300.0))
    assert means.incumbent == Incumbent(200.0, 0.4)
