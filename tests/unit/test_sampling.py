"""Which windows are kept, and how many of them."""

import pytest

from edgeml import Samples
from edgeml.clock import ManualClock
from edgeml.errors import ConfigError
from edgeml.result import ModelRef, Result
from edgeml.sampling import Sampler

MODEL = ModelRef("activity", 3, "ab" * 32)


def reasons(plan: Samples, *scores: float, pause_s: float = 0.0) -> list[str | None]:
    clock = ManualClock()
    sampler = Sampler(plan, clock)
    found = []
    for score in scores:
        found.append(sampler.reason(Result(MODEL, 0.0, 1.0, "x", score, (score,), 1.0, 1.0, 1.0)))
        clock.advance(pause_s)
    return found


def test_a_doubtful_window_is_kept_and_says_why() -> None:
    plan = Samples(below_score=0.6, above_score=2.0)
    found = reasons(plan, 0.9, 0.59, 0.6, 2.1, pause_s=100.0)
    assert found == [None, "score below 0.6", None, "score above 2"]


def test_one_in_so_many_is_kept_whatever_was_said() -> None:
    found = reasons(Samples(one_in=3), *[1.0] * 7, pause_s=100.0)
    assert found == [None, None, "one in 3", None, None, "one in 3", None]


def test_no_more_are_kept_than_somebody_will_look_at() -> None:
    found = reasons(Samples(below_score=1.0, per_hour=6), *[0.1] * 7_200, pause_s=1.0)
    kept = [at for at, why in enumerate(found) if why]
    assert kept == list(range(0, 7_200, 600))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "set below_score, above_score or one_in"),
        ({"one_in": 0}, "one_in is 0"),
        ({"one_in": 2.5}, "one_in is 2.5"),
        ({"below_score": 0.5, "per_hour": 0}, "per_hour is 0"),
        ({"below_score": 0.5, "per_hour": True}, "per_hour is True"),
    ],
)
def test_a_plan_that_keeps_nothing_is_refused(values: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Samples(**values)  # type: ignore[arg-type]
