"""What speaks against a candidate beside the incumbent, and how a change is said."""

import pytest

from edgeml.ota.host import Change, Verdict
from edgeml.ota.judging import heavier
from edgeml.ota.settings import Updates

LIMITS = Updates("root.json")


@pytest.mark.parametrize(("incumbent", "candidate"), [(0.02, 1.01), (0.9, 1.85), (20.0, 39.0)])
def test_a_probe_that_took_a_millisecond_longer_or_up_to_twice_as_long_is_not_slow(
    incumbent: float, candidate: float
) -> None:
    assert heavier(Verdict(None, candidate), Verdict(None, incumbent), LIMITS) is None


@pytest.mark.parametrize(
    ("incumbent", "candidate", "reason"),
    [
        (0.02, 1.5, "slow: a p95 of 1.50 ms, more than 1.02; the incumbent's is 0.02"),
        (20.0, 41.0, "slow: a p95 of 41.00 ms, more than 40.00; the incumbent's is 20.00"),
    ],
)
def test_one_that_is_slower_by_more_says_what_it_is_held_against(
    incumbent: float, candidate: float, reason: str
) -> None:
    assert heavier(Verdict(None, candidate), Verdict(None, incumbent), LIMITS) == reason


def test_a_change_reads_as_a_line_in_a_log() -> None:
    found = Change("idle", "release_found", "waiting", "pump-2")
    assert str(found) == "pump-2: idle -> waiting (release_found)"
    failed = Change("probing", "probe_failed", "idle", "pump-2", "golden: window 3")
    assert str(failed) == "pump-2: probing -> idle (probe_failed): golden: window 3"
    unseen = Change("idle", "refused", "idle", "", "missing: nothing is there")
    assert str(unseen) == "idle -> idle (refused): missing: nothing is there"
