"""A rollout advances on evidence, halts on failures, and stands still when nobody speaks."""

from typing import Any

import pytest

from edgeml.errors import ConfigError
from edgeml.fleet.staging import (
    Outcome,
    Policy,
    at_most,
    judge,
    lower_bound,
    upper_bound,
)

POLICY = Policy(soak_s=60.0)


def _outcomes(good: int = 0, failed: int = 0, pending: int = 0) -> dict[str, Outcome]:
    kinds = [Outcome.GOOD] * good + [Outcome.FAILED] * failed + [Outcome.PENDING] * pending
    return {f"d{i}": kind for i, kind in enumerate(kinds)}


def test_it_begins_with_the_first_stage() -> None:
    assert judge(POLICY, 0, 0.0, {}).upto == 100


@pytest.mark.parametrize(
    ("upto", "in_stage_s", "outcomes", "next_upto"),
    [
        (100, 60.0, _outcomes(good=1), 1000),
        (100, 59.0, _outcomes(good=1), None),
        (100, 60.0, _outcomes(), None),
        (10_000, 1e9, _outcomes(), None),
        (1000, 60.0, _outcomes(good=9, pending=1), None),
        (1000, 60.0, _outcomes(good=58, pending=40), None),
        (1000, 60.0, _outcomes(good=59, pending=40), 5000),
        (1000, 60.0, _outcomes(good=99, failed=1), 5000),
        (5000, 60.0, _outcomes(pending=5), None),
        (5000, 1e9, _outcomes(pending=5), None),
    ],
)
def test_it_advances_only_on_enough_evidence(
    upto: int, in_stage_s: float, outcomes: dict[str, Outcome], next_upto: int | None
) -> None:
    verdict = judge(POLICY, upto, in_stage_s, outcomes)
    assert (verdict.upto, verdict.halt, verdict.done) == (next_upto, False, False), verdict.reason


@pytest.mark.parametrize(("nearest", "upto"), [(None, None), (347, 348), (999, 1000), (4000, 1000)])
def test_a_stage_that_holds_nobody_goes_on_to_one_device_and_waits_where_there_is_none(
    nearest: int | None, upto: int | None
) -> None:
    assert judge(POLICY, 100, 60.0, {}, nearest).upto == upto
    assert judge(POLICY, 100, 59.0, {}, nearest).upto is None


@pytest.mark.parametrize(
    "outcomes",
    [
        _outcomes(failed=1),
        _outcomes(failed=2, pending=50),
        _outcomes(good=9, failed=1),
        _outcomes(good=30, failed=2, pending=9),
        _outcomes(good=900, failed=70, pending=900),
    ],
)
def test_it_halts_on_failures_before_the_soak_is_over(outcomes: dict[str, Outcome]) -> None:
    assert judge(POLICY, 1000, 0.0, outcomes).halt


@pytest.mark.parametrize(
    "outcomes", [_outcomes(good=99, failed=1), _outcomes(good=990, failed=20, pending=5)]
)
def test_a_failure_rate_that_is_borne_does_not_halt_it(outcomes: dict[str, Outcome]) -> None:
    assert not judge(POLICY, 1000, 60.0, outcomes).halt


def test_it_is_done_when_everybody_who_can_be_heard_has_it() -> None:
    assert not judge(POLICY, 10_000, 60.0, _outcomes(good=900, pending=1)).done
    assert judge(POLICY, 10_000, 60.0, _outcomes(good=900)).done


def test_the_devices_that_prove_a_rate_are_as_many_as_the_policy_says() -> None:
    enough = Policy().enough
    assert enough == 59
    assert upper_bound(0, enough, 0.95) <= 0.05 < upper_bound(0, enough - 1, 0.95)


@pytest.mark.workstation
@pytest.mark.parametrize(("failed", "seen"), [(0, 10), (1, 10), (3, 59), (40, 1000), (10, 10)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_the_bounds_are_those_of_clopper_and_pearson(
    failed: int, seen: int, confidence: float
) -> None:
    from scipy.stats import beta, binom

    alpha = 1 - confidence
    upper = 1.0 if failed == seen else beta.ppf(confidence, failed + 1, seen - failed)
    lower = 0.0 if failed == 0 else beta.ppf(alpha, failed, seen - failed + 1)
    assert upper_bound(failed, seen, confidence) == pytest.approx(upper, abs=1e-9)
    assert lower_bound(failed, seen, confidence) == pytest.approx(lower, abs=1e-9)
    assert at_most(failed, seen, 0.07) == pytest.approx(binom.cdf(failed, seen, 0.07), abs=1e-12)


@pytest.mark.parametrize(
    "arguments",
    [{"stages": ()}, {"stages": (100,)}, {"stages": (1000, 100, 10_000)}, {"stages": (0, 10_000)},
     {"max_failure_rate": 0.0}, {"confidence": 1.0}, {"soak_s": -1.0}],
)  # fmt: skip
def test_a_policy_that_cannot_work_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Policy(**arguments)
