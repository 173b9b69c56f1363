"""One model's updates, a step at a time: asks the table, does what the state calls for.

Nothing here waits. `turn` does the next thing and returns; whoever owns the
updater calls it again, from a thread that is not the inference's. What the
device must do (swap a model between two windows, say how the incumbent does) is
behind `Host`, so that this module knows no device, and a test is one.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from edgeml.clock import Clock, hour_here
from edgeml.errors import EdgeMLError, TrustError, UpdateError
from edgeml.ota.asking import Asking, Floor, Trusting
from edgeml.ota.fetch import fetch
from edgeml.ota.host import Host, SetAsideError
from edgeml.ota.journal import NO_REASON, Held, Why
from edgeml.ota.judging import disagrees, exhausted, heavier, objection, permitted
from edgeml.ota.probation import CRASHES
from edgeml.ota.settings import Updates
from edgeml.ota.standing import Offer, Standing
from edgeml.ota.states import Event, State
from edgeml.ota.steps import Steps
from edgeml.ota.store import Store
from edgeml.ota.transport import Transport
from edgeml.ota.wayback import WayBack
from edgeml.releases.rollout import Decision, Ignore, decide

RETRY_S: Final = 30.0
"""After a refusal, before it is tried again; a look that fails again and again, twice as late."""

UNFIT_S: Final = 600.0
"""After a probe that no model passes: the machine is being upgraded, or out of memory."""

_OLDER: Final = "older: "
_UNDER_WAY: Final = (State.WAITING, State.FETCHING, State.PROBING, State.SHADOWING)

log: Final = logging.getLogger("edgeml.updates")


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
        self._asking = Asking(trust, transports)
        self._host = host
        self._clock = clock
        self._local_hour = hour_here if local_hour is None else local_hour
        self._standing: Standing | None = None
        self._check_due_s = self._again_s = clock.monotonic_s()
        self._look_again_s = RETRY_S
        self._steps = Steps(name, store, host)
        self._way_back = WayBack(name, store, host, self._steps)

    @property
    def waiting_for(self) -> str | None:
        """The release under way, which may wait for its hour or an agreement; None without one."""
        journal = self._store.journal
        held = journal.candidate
        return held.release if held and journal.state in _UNDER_WAY else None

    @property
    def offer(self) -> Offer | None:
        """What the publisher offered when it was asked last; None for nothing."""
        return None if self._standing is None else self._standing.offers.get(self._name)

    def agree(self, release: str) -> None:
        """Let a release be installed, under any policy and at any hour; from any thread.

        Raises:
            UpdateError: another one waits, or none, or the disk does not take it.
        """
        if release != self.waiting_for:
            raise UpdateError(
                f"{release} does not wait; what waits is {self.waiting_for or 'nothing'}"
            )
        self._store.change(agreed=release)

    def check_now(self) -> None:
        """Look at what is offered with the next turn."""
        self._check_due_s = self._again_s = self._clock.monotonic_s()

    def look(self) -> Decision | None:
        """Ask what is offered, at once; what the rule says to this device, None without a rule.

        Raises:
            UpdateError: nobody says anything that is proven.
        """
        self._check_due_s = self._clock.monotonic_s()
        self._look()
        return None if self.offer is None else self._decide(self.offer)

    def apply(self) -> None:
        """Take what is offered now, at any hour and under any policy, if its rule lets it in.

        Raises:
            UpdateError: nothing is offered, it may not be had, or nothing came of it.
        """
        offer, journal = self.offer, self._store.journal
        if offer is None:
            raise UpdateError(f"nothing of {self._name} is offered to {self._settings.group}")
        release = offer.rule.release
        against = objection(release, self._decide(offer), journal)
        if against is not None:
            raise UpdateError(against)
        self._store.change(agreed=release)
        self._act()
        failed = self._store.journal.bad.get(release)
        if failed is not None:
            raise UpdateError(f"{release} is refused: {failed}")

    def turn(self) -> None:
        """Do what the state calls for; refusals are reported and leave the incumbent serving."""
        if self._clock.monotonic_s() < self._again_s:
            return
        try:
            self._look()
            self._act()
        except SetAsideError as exc:
            log.info("%s: %s", self._name, exc)
        except UpdateError as exc:
            self._again_s = max(self._again_s, self._clock.monotonic_s() + RETRY_S)
            self._steps.refuse(str(exc))

    def judge(self, reason: str | None, *, passed: bool) -> None:
        """Take what a probation found: a reason to go back, or that it is passed."""
        if self._way_back.unfinished:
            self._way_back.finish()
        elif self._store.journal.state is not State.PROBATION:
            return
        elif reason is not None:
            self._way_back.go(reason, Event.UNHEALTHY)
        elif passed:
            self._steps.take(self._store.commit)

    def roll_back(self, reason: str) -> None:
        """Go back to the model before, because somebody says so; the release is bad from now on.

        Raises:
            UpdateError: the factory's model serves, or the disk does not take it.
        """
        if self._store.journal.current is None:
            raise UpdateError("there is nothing to go back to: the factory's model serves")
        self._clear_the_way(reason)
        self._way_back.go(reason, Event.UNHEALTHY)

    def _look(self) -> None:
        if self._clock.monotonic_s() < self._check_due_s:
            return
        # A device that starts before its network does asks again soon, then less and less often.
        now_s, every_s = self._clock.monotonic_s(), self._settings.check_interval_s
        self._check_due_s = now_s + min(self._look_again_s, every_s)
        self._look_again_s *= 2
        journal = self._store.journal
        floor = Floor(journal.floor_s, journal.floor_root)
        standing, wrong = self._asking.standing(
            self._settings.group, self._name, self._clock.now_s(), floor
        )
        self._standing = standing
        self._check_due_s, self._look_again_s = now_s + every_s, RETRY_S
        fresh = standing.root_version > journal.floor_root
        floor_s = standing.signed_s if fresh else max(journal.floor_s, standing.signed_s)
        self._store.change(floor_s=floor_s, floor_root=standing.root_version)
        if wrong is not None:
            self._steps.refuse(str(wrong))
        elif not self._steps.last_refusal.startswith(_OLDER):
            self._steps.last_refusal = ""

    def _act(self) -> None:
        if self._standing is None:
            return
        current = self._store.journal.current
        if current is not None and current.release in self._standing.revoked:
            reason = f"revoked: {current.release} was taken back"
            self._clear_the_way(reason)
            self._way_back.go(reason, Event.REVOKED)
            return
        state = self._store.journal.state
        if state is State.IDLE:
            self._consider()
        elif state in _UNDER_WAY:
            self._go_on(state)

    def _clear_the_way(self, reason: str) -> None:
        """Give up what is under way, which is found again later."""
        if self._store.journal.state in _UNDER_WAY:
            self._give_up(Event.WITHDRAWN, reason)

    def _consider(self) -> None:
        offer, journal = self.offer, self._store.journal
        if offer is None or journal.pinned not in (None, offer.rule.release):
            return
        decision = self._decide(offer)
        if isinstance(decision, Ignore) and decision.reason.startswith(_OLDER):
            self._steps.refuse(decision.reason)  # no publisher's tool makes such a rule
        if isinstance(decision, Ignore) or offer.rule.release in journal.bad:
            return
        held = Held(offer.rule.release, offer.bundle_digest)
        self._steps.take(lambda: self._store.step(Event.RELEASE_FOUND, candidate=held))
        self._go_on(State.WAITING)

    def _go_on(self, state: State) -> None:
        offer, journal = self.offer, self._store.journal
        held = journal.candidate
        if held is None or offer is None or offer.rule.release != held.release:
            self._give_up(Event.WITHDRAWN, "withdrawn: the release is not offered any more")
            return
        if journal.pinned not in (None, held.release):
            self._give_up(Event.WITHDRAWN, "pinned: this device stays with what it has")
            return
        decision = self._decide(offer)
        if isinstance(decision, Ignore):
            self._give_up(Event.WITHDRAWN, decision.reason)
            return
        if state is State.FETCHING:
            self._fetch(held)
        elif journal.agreed != held.release and not permitted(
            state, decision, offer.rule, self._settings, self._local_hour()
        ):
            return
        elif state is State.WAITING:
            self._steps.take(lambda: self._store.step(Event.PERMITTED))
            self._go_on(State.FETCHING)
        elif state is State.PROBING:
            self._try(held)
        else:
            self._watch_shadow()

    def _fetch(self, held: Held) -> None:
        if self._store.candidate is None:  # else it was whole when the process died
            index, wrong = self._asking.index(held.release)
            if index.bundle_digest != held.digest:
                raise TrustError(f"invalid: the index of {held.release} makes another bundle")
            ways, host = self._asking.transports, self._host
            wrong += fetch(self._store, index, ways, pieces=host.pieces, progress=host.progress)
            if wrong:
                self._steps.refuse(wrong[0])  # what one way has wrong, another had right
        self._steps.take(lambda: self._store.step(Event.CHUNKS_COMPLETE))
        self._go_on(State.PROBING)

    def _try(self, held: Held) -> None:
        """Probe the candidate, and let it serve where nothing speaks against it."""
        path = self._store.path_of(held)
        down = exhausted(self._store.tried())
        reason = down or self._host.misfit(path) or self._probe(path)
        if reason is not None:
            self._give_up(Event.PROBE_FAILED, reason, for_good=True)
        elif self._settings.shadow_windows:
            self._begin_shadow(path)
        else:
            self._activate()

    def _begin_shadow(self, path: Path) -> None:
        try:
            self._host.shadow(path, self._settings.shadow_windows)
        except EdgeMLError as exc:
            self._give_up(Event.PROBE_FAILED, f"{CRASHES}{exc}", for_good=True)
            return
        self._steps.take(lambda: self._store.step(Event.SHADOW_BEGUN))

    def _watch_shadow(self) -> None:
        seen = self._host.shadowed()
        if seen is None:
            return
        reason = seen.reason or disagrees(seen, self._settings.shadow_agreement)
        if reason is None:
            agreement = seen.facts["agreement"]
            self._activate((f"shadow: {agreement:.1%} of the windows agree", seen.facts))
        else:
            self._give_up(Event.SHADOW_FAILED, reason, for_good=True, facts=seen.facts)

    def _activate(self, why: Why = NO_REASON) -> None:
        incumbent = self._host.incumbent()
        self._steps.take(lambda: self._store.activate(incumbent, why))
        try:
            self._host.swap(self._store.current)
        except EdgeMLError as exc:
            self._way_back.go(f"{CRASHES}{exc}", Event.UNHEALTHY)

    def _probe(self, path: Path) -> str | None:
        """Why a candidate must not serve; None where it may.

        One that crashes is judged only where the model that serves does not crash as well.

        Raises:
            UpdateError: both do: this machine can try nothing now.
        """
        verdict = self._host.probe(path)
        crashes = (verdict.reason or "").startswith(CRASHES)
        if not crashes and (verdict.reason is not None or verdict.p95_ms is None):
            return verdict.reason
        incumbent = self._host.probe(self._store.current)
        if not crashes:
            return heavier(verdict, incumbent, self._settings)
        if not (incumbent.reason or "").startswith(CRASHES):
            return verdict.reason
        self._store.change(tries=0)
        self._again_s = self._clock.monotonic_s() + UNFIT_S
        raise UpdateError(f"machine: not even what serves can be tried now: {incumbent.reason}")

    def _give_up(
        self,
        event: Event,
        reason: str,
        *,
        for_good: bool = False,
        facts: Mapping[str, float] = NO_REASON[1],
    ) -> None:
        self._steps.take(lambda: self._store.abandon(event, (reason, facts), for_good=for_good))

    def _decide(self, offer: Offer) -> Decision:
        journal = self._store.journal
        installed = (
            self._host.factory_version() if journal.current is None else journal.current.version
        )
        now_s = max(self._clock.now_s(), journal.floor_s, offer.said_s)
        return decide(
            offer.rule, self._device, self._settings.group, now_s, self._local_hour(), installed
        )
