"""Whose word counts for a release in one group, and for how long it is remembered."""

import pytest

from edgeml.fleet.reports import Reports, Standing
from edgeml.fleet.staging import Outcome
from edgeml.releases.rollout import BUCKETS, Rule

RELEASE = "activity-2"
RULE = Rule(RELEASE, "default", BUCKETS, 1000, 1 << 39)


def heard(**devices: Standing) -> Reports:
    """What a conductor of the release knows of these devices."""
    return Reports(RELEASE, devices=devices)


def standing(group: str | None, installed: str, *bad: str, online: bool = True) -> Standing:
    """What a device said."""
    return Standing((1, 1), "o", online, group, installed, bad, "slow: x" if bad else "")


@pytest.mark.parametrize("upto", [0, 100, BUCKETS])
def test_devices_of_another_group_neither_prove_a_release_nor_speak_against_it(upto: int) -> None:
    reports = heard(
        good=standing("beta", RELEASE),
        bad=standing("beta", "activity-1", RELEASE),
        waits=standing("beta", "activity-1"),
    )
    rule = Rule(RELEASE, "default", upto, 1000, 1 << 39)
    assert (reports.outcomes(rule), reports.failures(rule)) == ({}, {})


def test_those_of_the_group_count_and_are_named_with_their_reason() -> None:
    reports = heard(
        good=standing("default", RELEASE),
        bad=standing("default", "activity-1", RELEASE),
        waits=standing("default", "activity-1"),
        gone=standing("default", "activity-1", online=False),
    )
    assert reports.outcomes(RULE) == {
        "good": Outcome.GOOD,
        "bad": Outcome.FAILED,
        "waits": Outcome.PENDING,
    }
    assert reports.failures(RULE) == {"bad": "slow: x"}


def test_an_alarm_of_a_device_whose_group_nobody_knows_counts() -> None:
    reports = heard(a=standing(None, RELEASE), b=standing(None, RELEASE))
    reports.alarms["a"] = "rollback: nan"
    assert reports.failures(RULE) == {"a": "rollback: nan"}
    assert reports.outcomes(RULE) == {"a": Outcome.FAILED}
