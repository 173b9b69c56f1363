"""A rollout led through a fleet in memory: on to everybody, or halted at the first stage."""

import json
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from edgeml.clock import ManualClock
from edgeml.errors import BusyError, UpdateError
from edgeml.fleet.conductor import Conductor, Ending, filters
from edgeml.fleet.staging import Policy
from edgeml.releases.rollout import BUCKETS, Rule, bucket_of
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.line import Message
from tests.memoryline import MemoryBroker, MemoryLine

RELEASE = "activity-2"
POLICY = Policy(soak_s=600.0)


@dataclass
class Fleet:
    """Devices in memory, a rule that they all read, and a broker between them and the conductor."""

    size: int = 300
    name: str = "pump"
    clock: ManualClock = field(default_factory=ManualClock)
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    rule: Rule | None = None
    history: list[int] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    installed: set[str] = field(default_factory=set)
    offline: set[str] = field(default_factory=set)
    epoch: int = 0
    lasting: bool = False
    told: list[str] = field(default_factory=list)
    busy: int = 0
    """So many calls of the repository find it locked; the rule of a halt is written by then."""

    @property
    def devices(self) -> list[str]:
        return [f"{self.name}-{i}" for i in range(self.size)]

    def read(self) -> Rule | None:
        return self.rule

    def let(self, upto: int, *, lasting: bool) -> None:
        self.wait_for_lock()
        now_s = int(self.clock.now_s())
        same = self.rule is not None and self.rule.upto == upto
        issued_s = self.rule.issued_s if self.rule is not None and same else now_s
        self.rule = Rule(RELEASE, "default", upto, issued_s, now_s + 7200)
        self.history.append(upto)
        self.lasting = lasting

    def halt(self) -> None:
        assert self.rule is not None
        self.rule = Rule(RELEASE, "default", 0, self.rule.issued_s, self.rule.expires_s)
        self.wait_for_lock()
        self.history.append(0)

    def wait_for_lock(self) -> None:
        if self.busy:
            self.busy -= 1
            raise BusyError("another edgeml command works on it")

    def live(self) -> None:
        """Each device does what the rule says, and tells."""
        for device in self.devices:
            if device in self.offline:
                continue
            chosen = (
                self.rule is not None
                and self.clock.now_s() < self.rule.expires_s
                and bucket_of(RELEASE, device) < self.rule.upto
            )
            if chosen and device not in self.broken:
                self.installed.add(device)
            bad = chosen and device in self.broken
            self.say(device, installed=device in self.installed, bad=bad)

    def say(self, device: str, *, installed: bool, bad: bool = False, online: bool = True) -> None:
        self.epoch += 1
        update: dict[str, Any] = {
            "state": "idle", "group": "default", "bad": [RELEASE] if bad else [],
            "installed": RELEASE if installed else "activity-1",
            "reason": "golden: 3 of 8 windows differ" if bad else None,
        }  # fmt: skip
        state = {
            "v": 1, "online": online, "device": device, "outbox": "x", "epoch": [1, self.epoch],
            "time_s": self.clock.now_s(), "edgeml": "0.1.0",
        }  # fmt: skip
        if online:
            state["update"] = update
        self.publish(device, topics.STATE, state, retain=True)

    def publish(self, device: str, channel: str, document: object, *, retain: bool = False) -> None:
        topic = topics.device_topic("f", device, channel)
        self.broker.take(Message(topic, json.dumps(document).encode(), retain=retain))
        self.broker.route(0)

    def conductor(self) -> Conductor:
        line = MemoryLine(self.broker, filters("f"))
        made = Conductor(
            RELEASE, self, POLICY, Connection("mqtt://nowhere"), "f", clock=self.clock, line=line,
            tell=lambda _, reason: self.told.append(reason),
        )  # fmt: skip
        line.open()
        return made

    def lead(self, conductor: Conductor, steps: int = 300) -> Ending | None:
        for _ in range(steps):
            self.live()
            ending = conductor.step(0.0)
            if ending is not None:
                return ending
            self.clock.advance(60)
        return None


def test_somebody_who_watches_is_told_once_that_the_broker_is_gone() -> None:
    fleet = Fleet()
    conductor = fleet.conductor()
    conductor.step(0.0)
    fleet.broker.kill()
    conductor.step(0.0)
    conductor.step(0.0)
    assert fleet.told == ["waits for the broker: the broker died"]


def test_a_good_release_reaches_everybody_stage_by_stage() -> None:
    fleet = Fleet()
    ending = fleet.lead(fleet.conductor())
    assert ending is not None
    assert ending.done
    assert list(dict.fromkeys(fleet.history)) == [100, 1000, 5000, BUCKETS]
    assert fleet.lasting
    assert fleet.installed == set(fleet.devices)
    assert ending.outcomes == {"pending": 0, "good": 300, "failed": 0}


def test_a_bad_release_is_halted_where_it_began() -> None:
    fleet = Fleet()
    fleet.broken = set(fleet.devices)
    ending = fleet.lead(fleet.conductor())
    assert ending is not None
    assert ending.halted
    assert fleet.history[-1] == 0
    assert max(fleet.history) == 100
    assert set(ending.failures.values()) == {"golden: 3 of 8 windows differ"}


@pytest.mark.parametrize("fleet_of", range(10))
def test_a_bad_release_meets_one_device_of_a_small_fleet_whoever_the_first_stage_holds(
    fleet_of: int,
) -> None:
    """Of twenty devices 1 % is mostly nobody; the next stage must not be two of them at once."""
    fleet = Fleet(size=20, name=f"fan{fleet_of}")
    fleet.broken = set(fleet.devices)
    ending = fleet.lead(fleet.conductor())
    assert ending is not None
    assert ending.halted
    first = sorted(bucket_of(RELEASE, device) for device in fleet.devices)[:2]
    assert len(ending.failures) == 1 or first[1] < POLICY.stages[0]


def test_while_no_device_is_heard_a_release_is_let_in_nowhere_further() -> None:
    fleet = Fleet(size=0)
    conductor = fleet.conductor()
    assert fleet.lead(conductor) is None
    assert set(fleet.history) == {100}


def test_a_release_that_fails_on_one_in_five_never_reaches_half() -> None:
    fleet = Fleet()
    fleet.broken = set(fleet.devices[::5])
    ending = fleet.lead(fleet.conductor())
    assert ending is not None
    assert ending.halted
    assert max(fleet.history) <= 1000


@pytest.mark.parametrize("kind", ["drift", "latency", "confidence", "rollback"])
def test_an_alarm_of_a_device_that_runs_it_halts_it(kind: str) -> None:
    fleet = Fleet(size=20)
    fleet.let(BUCKETS, lasting=False)
    conductor = fleet.conductor()
    assert fleet.lead(conductor, steps=2) is None
    for device in fleet.devices[:2]:
        row = {"seq": 1, "time_s": fleet.clock.now_s(), "kind": kind, "fields": {"psi": 0.4}}
        if kind == "rollback":
            row["fields"] = {"release": RELEASE, "reason": "crash loop"}
        fleet.publish(device, topics.EVENTS, {"v": 1, "outbox": "x", "rows": [row]})
    ending = fleet.lead(conductor, steps=2)
    assert ending is not None
    assert ending.halted
    assert len(ending.failures) == 2


@pytest.mark.parametrize(
    "fields",
    [{"release": "activity-1"}, {"release": "other-9"}, {"release": RELEASE, "of": "inputs"}],
    ids=["older", "another", "of the sensors"],
)
def test_an_alarm_that_is_not_of_this_release_does_not_count(fields: dict[str, str]) -> None:
    fleet = Fleet(size=20)
    fleet.let(BUCKETS, lasting=False)
    conductor = fleet.conductor()
    fleet.lead(conductor, steps=2)
    row = {"seq": 1, "time_s": fleet.clock.now_s(), "kind": "drift", "fields": fields}
    for device in fleet.devices:
        fleet.publish(device, topics.EVENTS, {"v": 1, "outbox": "x", "rows": [row]})
    assert fleet.lead(conductor, steps=2) is None
    assert not conductor.reports.alarms


def test_killed_at_any_step_it_goes_on_where_it_was_and_never_skips_a_stage() -> None:
    fleet = Fleet()
    for _ in range(1000):
        fleet.live()
        conductor = fleet.conductor()
        for _ in range(4):
            conductor.step(0.0)
            fleet.clock.advance(2)
        fleet.broker.lines.clear()
        if fleet.lasting:
            break
        fleet.clock.advance(100)
    assert list(dict.fromkeys(fleet.history)) == [100, 1000, 5000, BUCKETS]


def test_while_nobody_leads_nothing_advances_and_the_rule_ends() -> None:
    fleet = Fleet()
    fleet.lead(fleet.conductor(), steps=3)
    assert fleet.rule is not None
    had = set(fleet.installed)
    assert fleet.rule.upto == 100
    fleet.clock.advance(7200)
    fleet.offline.clear()
    fleet.size += 1000
    fleet.live()
    assert fleet.installed == had


def test_what_nobody_hears_of_is_not_waited_for_and_not_counted() -> None:
    fleet = Fleet(size=100)
    fleet.live()
    for device in fleet.devices[50:]:
        fleet.say(device, installed=False, online=False)
        fleet.offline.add(device)
    ending = fleet.lead(fleet.conductor())
    assert ending is not None
    assert ending.done
    assert ending.outcomes["good"] == 50


def test_a_line_that_is_down_advances_nothing() -> None:
    fleet = Fleet(size=100)
    conductor = fleet.conductor()
    fleet.lead(conductor, steps=3)
    before = list(fleet.history)
    fleet.broker.kill()
    for _ in range(100):
        assert conductor.step(0.0) is None
        fleet.clock.advance(600)
    assert fleet.history == before


def test_a_halted_release_is_not_taken_up_again_by_itself() -> None:
    fleet = Fleet()
    fleet.let(100, lasting=False)
    fleet.halt()
    with pytest.raises(UpdateError, match="was halted in default"):
        fleet.conductor().step(0.0)


def test_a_newer_release_is_left_alone() -> None:
    fleet = Fleet()
    fleet.rule = Rule("activity-3", "default", 100, 0, 1 << 39)
    with pytest.raises(UpdateError, match="newer"):
        fleet.conductor().step(0.0)


def test_told_to_stop_it_says_how_far_it_came() -> None:
    fleet = Fleet()
    stop = threading.Event()
    stop.set()
    ending = fleet.conductor().run(stop)
    assert (ending.done, ending.halted) == (False, False)


def test_a_halt_waits_for_whoever_works_on_the_repository_until_it_is_out() -> None:
    fleet = Fleet()
    fleet.broken = set(fleet.devices)
    fleet.let(BUCKETS, lasting=False)
    fleet.busy = 40
    ending = fleet.lead(fleet.conductor())
    assert ending is not None
    assert ending.halted
    assert (fleet.busy, fleet.history) == (0, [BUCKETS, 0])
    assert ending.reason == "halted: 300 of 300 failed, 0 have not answered"


def test_a_repository_that_is_busy_now_and_then_holds_a_rollout_up_and_does_not_end_it() -> None:
    fleet = Fleet()
    conductor = fleet.conductor()
    ending = None
    while ending is None:
        fleet.busy = 3
        ending = fleet.lead(conductor, steps=5)
    assert ending.done
    assert list(dict.fromkeys(fleet.history)) == [100, 1000, 5000, BUCKETS]


def test_nonsense_on_a_topic_is_passed_over() -> None:
    fleet = Fleet(size=5)
    conductor = fleet.conductor()
    fleet.lead(conductor, steps=1)
    for channel in (topics.STATE, topics.EVENTS):
        fleet.publish("pump-1", channel, {"v": 1, "nonsense": True})
    assert fleet.lead(conductor) is not None
