"""A rule says the same to every device, and each finds out alone whether it is meant."""

import json
from dataclasses import replace
from typing import Any

import pytest

from edgeml.errors import UpdateError
from edgeml.releases.rollout import (
    BUCKETS,
    Ignore,
    Install,
    Rule,
    Wait,
    bucket_of,
    decide,
    within,
)

NOW_S = 1_700_000_000
RULE = Rule("activity-2", "default", BUCKETS, NOW_S, NOW_S + 86_400)
DEVICES = [f"pump-{i}" for i in range(2000)]


def _reason(rule: Rule, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "device": "pump-7", "group": "default", "now_s": NOW_S + 1, "local_hour": 12.0,
    }  # fmt: skip
    decision = decide(rule, **{**arguments, **changes})
    return decision.reason.split(":")[0] if isinstance(decision, (Ignore, Wait)) else "install"


def test_a_bucket_is_the_same_on_every_machine() -> None:
    assert bucket_of("activity-2", "pump-7") == 975
    assert bucket_of("activity-3", "pump-7") == 3594


def test_one_tenth_of_the_buckets_is_one_tenth_of_the_devices() -> None:
    for release in ("activity-2", "activity-3", "digits-1"):
        share = sum(bucket_of(release, device) < 1000 for device in DEVICES) / len(DEVICES)
        assert 0.08 < share < 0.12


def test_a_growing_rule_keeps_those_it_had() -> None:
    def chosen(upto: int) -> set[str]:
        rule = replace(RULE, upto=upto)
        return {d for d in DEVICES if decide(rule, d, "default", NOW_S, 0.0) == Install()}

    assert set() < chosen(100) < chosen(1000) < chosen(5000) < chosen(BUCKETS) == set(DEVICES)


@pytest.mark.parametrize(
    ("rule", "changes", "word"),
    [
        (RULE, {}, "install"),
        (RULE, {"group": "other"}, "group"),
        (replace(RULE, upto=0), {}, "halted"),
        (RULE, {"now_s": NOW_S + 86_400}, "expired"),
        (RULE, {"installed": 2}, "installed"),
        (RULE, {"installed": 3}, "older"),
        (RULE, {"installed": 1}, "install"),
        (replace(RULE, upto=975), {}, "later"),
        (replace(RULE, upto=976), {}, "install"),
        (replace(RULE, hours=(2, 5)), {}, "hours"),
        (replace(RULE, hours=(2, 5)), {"local_hour": 4.99}, "install"),
        (replace(RULE, spread_s=36_000), {}, "spread"),
        (replace(RULE, spread_s=36_000), {"now_s": NOW_S + 4000}, "install"),
    ],
)
def test_a_device_does_what_the_rule_says(
    rule: Rule, changes: dict[str, object], word: str
) -> None:
    assert _reason(rule, **changes) == word


def test_the_spread_lets_everybody_in_by_its_end_and_evenly() -> None:
    rule = replace(RULE, upto=1000, spread_s=3600)
    meant = [d for d in DEVICES if bucket_of(rule.release, d) < rule.upto]

    def started(after_s: int) -> int:
        decisions = (decide(rule, d, "default", NOW_S + after_s, 0.0) for d in meant)
        return sum(decision == Install() for decision in decisions)

    assert started(3600) == len(meant)
    assert 0.35 < started(1800) / len(meant) < 0.65


def test_a_wait_ends_when_it_says() -> None:
    rule = replace(RULE, hours=(22, 4))
    decision = decide(rule, "pump-7", "default", NOW_S, 20.5)
    assert decision == Wait(NOW_S + 1.5 * 3600, "hours: from 22:00 on")
    spread = decide(replace(RULE, spread_s=10_000), "pump-7", "default", NOW_S, 0.0)
    assert isinstance(spread, Wait)
    assert spread.until_s == NOW_S + 975


def test_a_clock_that_is_behind_the_rule_does_not_make_it_wait_for_years() -> None:
    rule = replace(RULE, spread_s=3600)
    decision = decide(rule, "pump-7", "default", 0.0, 0.0)
    assert isinstance(decision, Wait)
    assert decision.until_s <= NOW_S + 3600


@pytest.mark.parametrize(
    ("hours", "hour", "inside"),
    [((2, 5), 2.0, True), ((2, 5), 5.0, False), ((22, 4), 23.0, True), ((22, 4), 3.9, True),
     ((22, 4), 12.0, False), ((0, 24), 23.99, True)],
)  # fmt: skip
def test_hours_may_go_over_midnight(hours: tuple[int, int], hour: float, inside: bool) -> None:
    assert within(hours, hour) is inside


@pytest.mark.parametrize("hours", [None, (2, 5), (22, 4)])
def test_a_rule_comes_back_as_it_was(hours: tuple[int, int] | None) -> None:
    rule = replace(RULE, hours=hours, spread_s=60)
    assert Rule.parse(rule.encode()) == rule


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"release": "activity"},
        {"release": "activity-3"},
        {"name": "../x"},
        {"group": "a/b"},
        {"upto": -1},
        {"upto": BUCKETS + 1},
        {"upto": 0.5},
        {"spread_s": 1 << 40},
        {"expires_s": 1e400},
        {"expires_s": 1 << 60},
        {"hours": [2]},
        {"hours": [2, 2]},
        {"hours": [24, 2]},
        {"hours": [2, 25]},
        {"hours": "02-05"},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(changes: dict[str, object]) -> None:
    document = {**json.loads(RULE.encode()), **changes}
    with pytest.raises(UpdateError):
        Rule.parse(json.dumps(document).encode())


def test_a_rule_without_end_is_refused() -> None:
    with pytest.raises(UpdateError, match="at most"):
        Rule.parse(RULE.encode() + b" " * 5000)
