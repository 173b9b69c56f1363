"""Leads one release through its stages: listens, judges, has the next rule written and published.

It keeps nothing of its own. How far the rollout is stands in the repository's
rule, how it goes in what devices say; so it can be killed and started again at
any time, and while it is gone nothing advances: nobody else renews the rule
that it left, and the rule ends.
"""

import contextlib
import secrets
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from edgeml.clock import Clock, SystemClock
from edgeml.errors import BusyError, ProtocolError, UpdateError
from edgeml.fleet import addresses
from edgeml.fleet.reports import Reports
from edgeml.fleet.staging import Outcome, Policy, Verdict, judge
from edgeml.releases.names import parse_release_id
from edgeml.releases.rollout import BUCKETS, Rule
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.line import Down, Line, Received, Up
from edgeml.sync.link import Link

_STEP_S: Final = 1.0
_SETTLE_S: Final = 3.0
"""Retained states come as soon as the line is up; for so long nothing is judged."""


class Ruling(Protocol):
    """What the conductor needs of a repository. Every method may raise `EdgeMLError`.

    One that raises `BusyError`, as while another command publishes, is called again.
    """

    def read(self) -> Rule | None:
        """The rule that holds for the release's model in the group."""
        ...

    def let(self, upto: int, *, lasting: bool) -> None:
        """Let so many buckets have the release, and publish that; `lasting`: for `refresh`."""
        ...

    def halt(self) -> None:
        """Let nobody further have it, and publish that."""
        ...


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended.

    Attributes:
        done: everybody has it; else it was halted, or this program was told to stop.
        halted: it was halted.
        reason: for people.
        upto: the buckets that were let in last.
        outcomes: how many devices are good, failed and pending.
        failures: why it failed, by device.
    """

    done: bool
    halted: bool
    reason: str
    upto: int
    outcomes: dict[str, int]
    failures: dict[str, str]


class Conductor:
    """One rollout.

    Args:
        release: which release.
        ruling: the repository.
        policy: when to go on.
        connection: the broker.
        fleet: whose devices.
        expires_s: the rule ends so long after this program did.
        clock: the time.
        line: another way to the broker, with the subscriptions of `filters`; for simulations.
        tell: hears of each verdict that says something new.
    """

    def __init__(
        self,
        release: str,
        ruling: Ruling,
        policy: Policy,
        connection: Connection,
        fleet: str,
        *,
        expires_s: int = 7200,
        clock: Clock | None = None,
        line: Line | None = None,
        tell: Callable[[int, str], None] = lambda *_: None,
    ) -> None:
        self._release = release
        self._version = parse_release_id(release)[1]
        self._ruling = ruling
        self._policy = policy
        self._expires_s = expires_s
        self._clock = SystemClock() if clock is None else clock
        self._tell = tell
        self._link: Line = line or Link(
            connection,
            client_id=f"edgeml-rollout-{topics.checked_id(fleet, 'fleet')}-{secrets.token_hex(4)}",
            subscriptions=lambda _: filters(fleet),
            clock=self._clock,
        )
        self._up_s: float | None = None
        self._said = (0, "")
        self._published = False
        self._halting: str | None = None
        self._busy = False
        self.reports = Reports(release)

    def run(self, stop: threading.Event) -> Ending:
        """Lead it until it is done, halted, or this is told to stop.

        Raises:
            UpdateError: it was halted before, or a newer release is rolled out.
        """
        self._link.open()
        try:
            while not stop.is_set():
                ending = self.step(_STEP_S)
                if ending is not None:
                    return ending
            return self._ending("stopped; nothing advances until it is started again")
        finally:
            self._link.close()

    def wake(self) -> None:
        """End a wait, so that `run` sees its stop; from any thread."""
        self._link.wake()

    def step(self, timeout_s: float) -> Ending | None:
        """Listen for at most so long, then judge; how it ended, if it did."""
        rule = self._rule()
        self._listen(timeout_s, rule)
        try:
            ending = self._advance(rule)
        except BusyError as exc:
            # The next step does it again: what was written may not have gone out.
            if not self._busy:
                self._tell(0 if rule is None else rule.upto, f"waits: {exc}")
            self._busy, self._published = True, False
            return None
        self._busy = False
        return ending

    def _advance(self, rule: Rule | None) -> Ending | None:
        if self._halting is not None:
            return self._halt(self._halting)
        if self._up_s is None or self._clock.monotonic_s() - self._up_s < _SETTLE_S:
            return None
        if not self._link.online:
            return None  # who hears nothing judges nothing
        return self._follow(self._judge(rule), rule)

    def _judge(self, rule: Rule | None) -> Verdict:
        if rule is None:
            return judge(self._policy, 0, 0.0, {})
        in_stage_s = self._clock.now_s() - rule.issued_s
        outcomes, nearest = self.reports.outcomes(rule), self.reports.nearest(rule)
        return judge(self._policy, rule.upto, in_stage_s, outcomes, nearest)

    def _say(self, rule: Rule | None, reason: str) -> None:
        said = (0 if rule is None else rule.upto), reason
        if said != self._said:
            self._said = said
            self._tell(*said)

    def _follow(self, verdict: Verdict, rule: Rule | None) -> Ending | None:
        self._say(rule, verdict.reason)
        if verdict.halt:
            return self._halt(verdict.reason)
        if verdict.done:
            self._ruling.let(BUCKETS, lasting=True)
            return self._ending(verdict.reason, done=True)
        if verdict.upto is not None:
            self._ruling.let(verdict.upto, lasting=False)
        elif rule is not None and (
            # Whoever was here before may have been killed between writing and publishing.
            not self._published or rule.expires_s - self._clock.now_s() < self._expires_s / 2
        ):
            self._ruling.let(rule.upto, lasting=False)
        self._published = True
        return None

    def _halt(self, reason: str) -> Ending:
        self._halting = reason
        self._ruling.halt()
        return self._ending(reason, halted=True)

    def _rule(self) -> Rule | None:
        rule = self._ruling.read()
        if rule is None or rule.version < self._version:
            return None
        if rule.version > self._version:
            raise UpdateError(f"{rule.release} is rolled out in {rule.group}; it is the newer one")
        if rule.upto == 0 and self._halting is None:
            raise UpdateError(
                f"{self._release} was halted in {rule.group}; to begin again all the same: "
                f"edgeml repo rollout DIR {self._release} --group {rule.group} --percent 1"
            )
        return rule

    def _listen(self, timeout_s: float, rule: Rule | None) -> None:
        since_s = self._clock.now_s() if rule is None else rule.issued_s
        for event in self._link.step(timeout_s):
            if isinstance(event, Up):
                self._up_s = self._clock.monotonic_s()
            elif isinstance(event, Down):
                self._say(rule, f"waits for the broker: {event.reason}")
            elif isinstance(event, Received):
                with contextlib.suppress(ProtocolError):
                    self.reports.hear(event.topic, event.payload, since_s)

    def _ending(self, reason: str, *, done: bool = False, halted: bool = False) -> Ending:
        rule = self._ruling.read()
        # After a halt nobody is let in any more; those that have it are counted all the same.
        outcomes = Counter({} if rule is None else self.reports.outcomes(rule).values())
        counts = {outcome.value: outcomes[outcome] for outcome in Outcome}
        upto = 0 if rule is None else rule.upto
        failures = {} if rule is None else self.reports.failures(rule)
        return Ending(done, halted, reason, upto, counts, failures)


def filters(fleet: str) -> tuple[str, ...]:
    """What a conductor listens to."""
    return tuple(addresses.every_device(fleet, name) for name in (topics.STATE, topics.EVENTS))
