"""One model's updates, a step at a time: asks the table, does what the state calls for.

Nothing here waits. `turn` does the next thing and returns; whoever owns the
updater calls it again, from a thread that is not the inference's. What the
device must do (swap a model between two windows, say how the incumbent does) is
behind `Host`, so that this module knows no device, and a test is one.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from edgeml.clock import Clock
from edgeml.errors import EdgeMLError, TrustError, UpdateError
from edgeml.ota.fetch import fetch
from edgeml.ota.journal import Held
from edgeml.ota.settings import Updates
from edgeml.ota.standing import Get, Offer, Standing
from edgeml.ota.states import Event, State
from edgeml.ota.store import Store
from edgeml.ota.transport import MAX_FILE_BYTES, Transport
from edgeml.releases.index import ReleaseIndex
from edgeml.releases.rollout import Decision, Ignore, Install, Wait, decide, within

RETRY_S: Final = 30.0
"""After a refusal, before it is tried again."""

_OLDER: Final = "older: "

log: Final = logging.getLogger("edgeml.updates")


@dataclass(frozen=True, slots=True)
class Change:
    """A step of the table that was taken, or a refusal that left everything as it was.

    Attributes:
        before: the state before.
        event: what happened; "refused" with equal states for what never became an update.
        after: the state after.
        release: which release; "" where none is known.
        reason: why, beginning with a stable word; "" where it goes without saying.
    """

    before: str
    event: str
    after: str
    release: str
    reason: str = ""

    def as_dict(self) -> dict[str, str]:
        """The fields of the event that the outbox takes."""
        return {
            "from": self.before,
            "event": self.event,
            "to": self.after,
            "release": self.release,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a probe said: why the model must not serve (None where it may), and its p95."""

    reason: str | None
    p95_ms: float | None = None


class Host(Protocol):
    """What the updater needs of the device."""

    def factory_version(self) -> int:
        """The version of the model that the device was made with."""
        ...

    def misfit(self, path: Path) -> str | None:
        """Why a bundle is not for this device's sensors; None where it is."""
        ...

    def probe(self, path: Path | None) -> Verdict:
        """How a bundle does in a process of its own on this machine; None is the factory's."""
        ...

    def swap(self, path: Path | None) -> None:
        """Serve with another bundle from the next window on; None is the factory's.

        Raises:
            EdgeMLError: it cannot be loaded; the one before serves on.
        """
        ...

    def report(self, change: Change) -> None:
        """Take note of a change."""
        ...


class Trusting(Protocol):
    """What the updater needs of `trust.Trust`."""

    def check(
        self, get: Get, group: str, names: tuple[str, ...], now_s: float, floor_s: float
    ) -> Standing:
        """What the publisher says."""
        ...

    def index(self, get: Get, release: str) -> ReleaseIndex:
        """What a release is made of."""
        ...


class Updater:
    """The updates of one model.

    Args:
        name: the model's.
        device: the device's id.
        settings: the policy and the limits.
        store: what this device has of the model.
        trust: what this device believes.
        transports: where published files come from, the best first.
        host: the device.
        clock: the time.
        local_hour: the hour of this device's day, 0 to 24.
    """

    def __init__(
        self,
        name: str,
        device: str,
        settings: Updates,
        store: Store,
        trust: Trusting,
        transports: Sequence[Transport],
        host: Host,
        clock: Clock,
        local_hour: Callable[[], float] | None = None,
    ) -> None:
        self._name = name
        self._device = device
        self._settings = settings
        self._store = store
        self._trust = trust
        self._transports = transports
        self._host = host
        self._clock = clock
        self._local_hour = _hour_here if local_hour is None else local_hour
        self._standing: Standing | None = None
        self._check_due_s = self._again_s = clock.monotonic_s()
        self._agreed: str | None = None
        self._last_refusal = ""

    @property
    def waiting_for(self) -> str | None:
        """The release that waits for its hour or for an agreement; None where none does."""
        held = self._store.journal.candidate
        return held.release if held and self._store.journal.state is State.WAITING else None

    def agree(self, release: str) -> None:
        """Let a release be installed, under the policy `ask`.

        Raises:
            UpdateError: another one waits, or none.
        """
        if release != self.waiting_for:
            raise UpdateError(
                f"{release} does not wait; what waits is {self.waiting_for or 'nothing'}"
            )
        self._agreed = release

    def check_now(self) -> None:
        """Look at what is offered with the next turn."""
        self._check_due_s = self._again_s = self._clock.monotonic_s()

    def turn(self) -> None:
        """Do what the state calls for; refusals are reported and leave the incumbent serving."""
        if self._clock.monotonic_s() < self._again_s:
            return
        try:
            self._look()
            self._act()
        except UpdateError as exc:
            self._again_s = self._clock.monotonic_s() + RETRY_S
            self._refuse(str(exc))

    def judge(self, reason: str | None, *, passed: bool) -> None:
        """Take what a probation found: a reason to go back, or that it is passed."""
        if self._store.journal.state is not State.PROBATION:
            return
        if reason is not None:
            self._go_back(reason, Event.UNHEALTHY)
        elif passed:
            self._tell(Event.HEALTHY, self._store.commit)

    def _look(self) -> None:
        if self._clock.monotonic_s() < self._check_due_s:
            return
        self._check_due_s = self._clock.monotonic_s() + self._settings.check_interval_s
        journal = self._store.journal
        standing = self._trust.check(
            self._get, self._settings.group, (self._name,), self._clock.now_s(), journal.floor_s
        )
        if not self._last_refusal.startswith(_OLDER):
            self._last_refusal = ""
        self._standing = standing
        self._store.change(floor_s=max(journal.floor_s, standing.signed_s))

    def _act(self) -> None:
        if self._standing is None:
            return
        journal = self._store.journal
        current = journal.current
        revocable = journal.state in (State.IDLE, State.PROBATION)
        if revocable and current is not None and current.release in self._standing.revoked:
            self._go_back(f"revoked: {current.release} was taken back", Event.REVOKED)
        elif journal.state is State.IDLE:
            self._consider()
        elif journal.state in (State.WAITING, State.FETCHING, State.PROBING):
            self._go_on(journal.state)

    def _consider(self) -> None:
        offer = self._offer()
        if offer is None or self._store.journal.pinned:
            return
        decision = self._decide(offer)
        if isinstance(decision, Ignore) and decision.reason.startswith(_OLDER):
            self._refuse(decision.reason)  # no publisher's tool makes such a rule
        if isinstance(decision, Ignore) or offer.rule.release in self._store.journal.bad:
            return
        held = Held(offer.rule.release, offer.bundle_digest)
        self._tell(
            Event.RELEASE_FOUND, lambda: self._store.step(Event.RELEASE_FOUND, candidate=held)
        )
        self._go_on(State.WAITING)

    def _go_on(self, state: State) -> None:
        offer = self._offer()
        held = self._store.journal.candidate
        if held is None or offer is None or offer.rule.release != held.release:
            self._give_up(Event.WITHDRAWN, "withdrawn: the release is not offered any more")
            return
        decision = self._decide(offer)
        if isinstance(decision, Ignore):
            self._give_up(Event.WITHDRAWN, decision.reason)
            return
        if state is State.WAITING:
            if self._may_begin(decision, held.release):
                self._tell(Event.PERMITTED, lambda: self._store.step(Event.PERMITTED))
                self._go_on(State.FETCHING)
        elif state is State.FETCHING:
            self._fetch(held)
        else:
            self._try(held)

    def _may_begin(self, decision: Decision, release: str) -> bool:
        if isinstance(decision, Wait) or not isinstance(decision, Install):
            return False
        if self._settings.policy == "ask":
            return self._agreed == release
        hours = self._settings.hours
        return hours is None or within(hours, self._local_hour())

    def _fetch(self, held: Held) -> None:
        index = self._trust.index(self._get, held.release)
        if index.bundle_digest != held.digest:
            raise TrustError(f"invalid: the index of {held.release} makes another bundle")
        fetch(self._store, index, self._transports)
        self._tell(Event.CHUNKS_COMPLETE, lambda: self._store.step(Event.CHUNKS_COMPLETE))
        self._try(held)

    def _try(self, held: Held) -> None:
        """Probe the candidate, and let it serve where nothing speaks against it."""
        path = self._store.path_of(held)
        reason = self._host.misfit(path) or self._probe(path)
        if reason is not None:
            self._give_up(Event.PROBE_FAILED, reason, for_good=True)
            return
        self._tell(Event.ACTIVATED, self._store.activate)
        try:
            self._host.swap(self._store.current)
        except EdgeMLError as exc:
            self._go_back(f"crashes: {exc}", Event.UNHEALTHY)

    def _probe(self, path: Path) -> str | None:
        verdict = self._host.probe(path)
        if verdict.reason is not None or verdict.p95_ms is None:
            return verdict.reason
        incumbent = self._host.probe(self._store.current)
        if incumbent.p95_ms is None:
            return None
        most_ms = incumbent.p95_ms * self._settings.slower
        if verdict.p95_ms > most_ms:
            return f"slow: a p95 of {verdict.p95_ms:.2f} ms, more than {most_ms:.2f}"
        return None

    def _go_back(self, reason: str, event: Event) -> None:
        self._tell(event, lambda: self._store.roll_back(reason, event), reason)
        self._host.swap(self._store.current)

    def _give_up(self, event: Event, reason: str, *, for_good: bool = False) -> None:
        self._tell(event, lambda: self._store.abandon(event, reason if for_good else None), reason)

    def _tell(self, event: Event, step: Callable[[], object], reason: str = "") -> None:
        """Take a step and report it; what is reported has happened."""
        before = self._store.journal
        step()
        held = before.candidate or self._store.journal.candidate or before.current
        self._host.report(
            Change(
                before.state.value,
                event.value,
                self._store.journal.state.value,
                "" if held is None else held.release,
                reason,
            )
        )

    def _refuse(self, reason: str) -> None:
        """Say why nothing came of it, once for each reason."""
        log.warning("%s: %s", self._name, reason)
        if reason == self._last_refusal:
            return
        self._last_refusal = reason
        journal = self._store.journal
        release = "" if journal.candidate is None else journal.candidate.release
        state = journal.state.value
        self._host.report(Change(state, Event.REFUSED.value, state, release, reason))

    def _offer(self) -> Offer | None:
        return None if self._standing is None else self._standing.offers.get(self._name)

    def _decide(self, offer: Offer) -> Decision:
        journal = self._store.journal
        installed = (
            self._host.factory_version() if journal.current is None else journal.current.version
        )
        now_s = max(self._clock.now_s(), journal.floor_s)
        return decide(
            offer.rule, self._device, self._settings.group, now_s, self._local_hour(), installed
        )

    def _get(self, name: str) -> bytes | None:
        for transport in self._transports:
            for found, data in transport.fetch([name], MAX_FILE_BYTES):
                if found == name:
                    return data
        return None


def _hour_here() -> float:
    now = time.localtime()
    return now.tm_hour + now.tm_min / 60
