"""A model on probation is judged by its results, and every way to fail has its word."""

import math

import pytest

from edgeml.ota.probation import RECENT, Incumbent, Lately, Limits, Means, Probation
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


def outcome(scores: list[float]) -> tuple[str | None, bool]:
    """Why it must go, and whether it has passed, with nothing known of an incumbent."""
    probation = Probation(LIMITS, Incumbent())
    return verdict(probation, scores), probation.passed


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


def test_an_output_that_is_no_number_ends_it_even_where_the_score_is_one() -> None:
    two = result(0.5)._replace(outputs=(0.5, math.nan))
    assert Probation(LIMITS, Incumbent()).push(two) == "nan: an output is not a number"
    endless = result(0.5)._replace(outputs=(0.5, math.inf))
    assert Probation(LIMITS, Incumbent()).push(endless) is None


KNOWN = Incumbent(100.0, 0.7, longest=4, count=500)


def test_the_same_answer_to_everything_ends_it_where_the_incumbent_saw_more() -> None:
    probation = Probation(LIMITS, KNOWN)
    assert verdict(probation, [0.7] * 49) is None
    assert str(verdict(probation, [0.7])).startswith("constant: 50 results")


def test_a_sensor_at_rest_is_no_fault_of_the_model_where_the_incumbent_said_the_same() -> None:
    probation = Probation(LIMITS, Incumbent(100.0, 0.7, longest=400, count=500))
    assert verdict(probation, [0.7] * 100) is None
    assert probation.passed


def test_with_no_incumbent_a_probation_goes_on_until_an_answer_differs() -> None:
    assert outcome([0.7] * 900) == (None, False)
    assert outcome([0.7] * 900 + [0.8]) == (None, True)
    patient = Probation(LIMITS, Incumbent())
    assert str(verdict(patient, [0.7] * 1000)).startswith("constant: 1000 results")


def test_what_the_incumbent_did_before_a_reboot_counts_until_enough_was_seen_since() -> None:
    lately = Lately(Incumbent(50.0, 0.8, longest=30, count=1000), LIMITS)
    lately.add(result(0.5))
    assert lately.incumbent.mean_us == 50.0
    for score in varied(0.5, 19):
        lately.add(result(score))
    assert lately.incumbent.mean_us == pytest.approx(100.0)
    assert lately.incumbent.longest == 30


def test_a_model_slower_than_it_may_be_ends_it() -> None:
    slow = Probation(LIMITS, Incumbent(5000.0, 0.9))
    assert verdict(slow, varied(0.9, 19), us=12_500.0) is None
    assert str(verdict(slow, varied(0.9, 1), us=12_500.0)).startswith("slow: 12500 us a window")
    assert verdict(Probation(LIMITS, Incumbent(5000.0, 0.9)), varied(0.9, 50), us=9500.0) is None


def test_a_fast_model_is_no_slower_for_what_a_busy_processor_takes_from_it() -> None:
    assert verdict(Probation(LIMITS, Incumbent(100.0, 0.9)), varied(0.9, 50), us=1090.0) is None
    slow = Probation(LIMITS, Incumbent(100.0, 0.9))
    assert verdict(slow, varied(0.9, 50), us=1110.0) == "slow: 1110 us a window, more than 1100"


def test_confidence_that_collapses_ends_it() -> None:
    probation = Probation(LIMITS, Incumbent(100.0, 0.9))
    assert str(verdict(probation, varied(0.5, 20))).startswith("unsure: a mean score of 0.50")


def test_without_a_predecessor_time_and_confidence_are_not_compared() -> None:
    assert verdict(Probation(LIMITS, Incumbent()), varied(0.1, 60), us=1e6) is None


def alarms(lately: Lately, thousands: list[tuple[float, float]]) -> list[str | None]:
    """What each thousand of results of a mean score and a time is worth, told with the next."""
    found: list[str | None] = []
    for score, us in thousands:
        for one in varied(score, RECENT):
            reason = lately.add(result(one, us))
            if reason is not None:
                found.append(reason)
    return found


USUAL = (0.9, 5000.0)


def test_a_thousand_results_that_are_worse_are_one_alarm_until_they_are_well_again() -> None:
    lately = Lately(Incumbent(5000.0, 0.9, count=500), LIMITS)
    assert alarms(lately, [USUAL, (0.9, 9500.0), (0.7, 5000.0), USUAL]) == []
    (slow,) = alarms(lately, [(0.9, 12_500.0), (0.9, 12_500.0), USUAL])
    assert str(slow).startswith("slow: 12500 us a window, more than 10000")
    (unsure,) = alarms(lately, [(0.5, 5000.0), (0.5, 5000.0), USUAL])
    assert str(unsure).startswith("unsure: a mean score of 0.50, less than 0.60")


def test_where_nothing_is_known_of_before_the_first_thousand_are_what_is_usual() -> None:
    lately = Lately(Incumbent(1.0, 1.0, count=3), LIMITS)
    assert alarms(lately, [USUAL, USUAL, USUAL]) == []
    assert len(alarms(lately, [(0.9, 12_500.0), USUAL])) == 1


def test_a_score_that_is_no_confidence_may_fall_as_it_likes() -> None:
    cold = Probation(LIMITS, Incumbent(100.0, 21.5, count=500), confident=False)
    assert verdict(cold, varied(3.0, 100)) is None
    lately = Lately(Incumbent(100.0, 21.5, count=500), LIMITS, confident=False)
    assert alarms(lately, [(3.0, 100.0), (3.0, 100.0)]) == []


def test_a_process_that_starts_again_and_again_is_a_crash_loop() -> None:
    assert Probation(LIMITS, Incumbent(), starts=3).crashes() is None
    assert str(Probation(LIMITS, Incumbent(), starts=4).crashes()).startswith("crashes: 4 starts")


def test_means_take_a_score_that_is_no_number_for_no_confidence() -> None:
    means = Means()
    assert means.incumbent == Incumbent()
    means.add(result(0.8, 100.0))
    means.add(result(math.nan, 300.0))
    assert means.incumbent == Incumbent(200.0, 0.4, longest=1, count=2)
