"""Whose word counts for a release in one group, and for how long it is remembered."""

import json
from typing import Any

import pytest

from edgeml.fleet.reports import Reports, Standing
from edgeml.fleet.staging import Outcome
from edgeml.releases.rollout import BUCKETS, Rule
from edgeml.sync import topics

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


def say(reports: Reports, start: int, update: dict[str, Any] | None, **fields: Any) -> None:
    """Let device `a` say its state, as of the so manieth start of its process."""
    state = {
        "v": 1, "online": True, "device": "a", "outbox": "x", "epoch": [start, 1], "time_s": 1e9,
        "edgeml": "0.1.0", **fields,
    }  # fmt: skip
    if update is not None:
        state["update"] = update
    topic = topics.device_topic("f", "a", topics.STATE)
    reports.hear(topic, json.dumps(state).encode(), 0.0)


def update(installed: str, *bad: str, **more: Any) -> dict[str, Any]:
    """What a device says of its updates."""
    reason = "golden: 3 of 8 windows differ" if bad else None
    return {"group": "default", "installed": installed, "bad": list(bad), "reason": reason, **more}


@pytest.mark.parametrize("online", [True, False])
def test_a_device_that_starts_again_and_says_nothing_of_updates_takes_back_nothing(
    online: bool,
) -> None:
    reports = heard()
    say(reports, 1, update("activity-1", RELEASE))
    say(reports, 2, None, online=online)
    assert reports.outcomes(RULE) == {"a": Outcome.FAILED}
    assert reports.failures(RULE) == {"a": "golden: 3 of 8 windows differ"}


def test_a_device_that_was_made_anew_begins_anew() -> None:
    reports = heard()
    say(reports, 1, update("activity-1", RELEASE))
    say(reports, 1, None, outbox="another")
    assert reports.outcomes(RULE) == {}


@pytest.mark.parametrize(
    ("others", "outcome"),
    [
        ({"activity": update(RELEASE)}, Outcome.GOOD),
        ({"activity": update("activity-1", RELEASE)}, Outcome.FAILED),
        ({"activity": update("activity-1")}, Outcome.PENDING),
        ({"door": update("door-7", "door-8")}, None),
    ],
    ids=["installed", "refused", "not yet", "not its model"],
)
def test_what_a_device_says_of_its_second_model_counts_for_that_models_release(
    others: dict[str, Any], outcome: Outcome | None
) -> None:
    """A device that has no such model is not waited for."""
    reports = heard()
    say(reports, 1, update("gate-3", "gate-4", model="gate", others=others))
    assert reports.outcomes(RULE) == ({} if outcome is None else {"a": outcome})
    first = Rule(RELEASE, "default", 0, 1000, 1 << 39)
    assert (reports.nearest(first) is None) == (outcome is None)
