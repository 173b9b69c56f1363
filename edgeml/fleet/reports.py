"""What devices say about a release: read from their retained states and from their events.

A device that refuses or undoes a release says so in its retained state (`bad`)
for as long as it remembers it, so whoever starts listening later sees the same.
Events add what only happens once: alarms of a device that runs the release.
"""

from dataclasses import dataclass, field
from typing import Final

from edgeml.errors import ProtocolError
from edgeml.fleet import addresses
from edgeml.fleet.batches import EventRow, parse_events
from edgeml.fleet.selfreports import parse_state
from edgeml.fleet.staging import Outcome
from edgeml.jsonread import Fields
from edgeml.releases.names import parse_release_id
from edgeml.releases.rollout import Rule, bucket_of
from edgeml.sync import topics
from edgeml.sync.wire import load

ALARMS: Final = frozenset({"rollback", "drift", "latency", "confidence", "crash"})
"""Kinds of events that speak against the model which a device runs."""


@dataclass(slots=True)
class Standing:
    """What one device said last of updates."""

    epoch: tuple[int, int]
    outbox: str
    online: bool
    group: str | None = None
    installed: str | None = None
    bad: tuple[str, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class Reports:
    """Everything heard so far, of every device.

    Attributes:
        release: the release that is rolled out.
        devices: the last standing of each.
        alarms: for each device that raised one while it ran the release, which.
    """

    release: str
    devices: dict[str, Standing] = field(default_factory=dict)
    alarms: dict[str, str] = field(default_factory=dict)

    def hear(self, topic: str, payload: bytes, since_s: float) -> None:
        """Take in a message of a device; one that cannot be read is passed over.

        Args:
            topic: where it came.
            payload: what it says.
            since_s: unix time since when an alarm that names no release may be about this one.

        Raises:
            ProtocolError: it is not a message of this version.
        """
        address = addresses.parse(topic)
        if address.channel == topics.STATE and payload:
            self._hear_state(address.device, payload)
        elif address.channel == topics.EVENTS and payload:
            for row in parse_events(payload).events:
                self._hear_event(address.device, row, since_s)

    def outcomes(self, rule: Rule) -> dict[str, Outcome]:
        """What became of the release on each device of the rule's group that the rule lets in.

        A device that is offline and has said nothing of it is left out: it can neither
        confirm nor deny, and must not hold up the others for ever. What failed on a device
        whose group nobody knows counts: better a halt too many.
        """
        found = {}
        for device, standing in self.devices.items():
            outcome = self._outcome(device, standing)
            if outcome is Outcome.PENDING and not (
                standing.online and bucket_of(rule.release, device) < rule.upto
            ):
                continue
            if standing.group == rule.group or (
                standing.group is None and outcome is Outcome.FAILED
            ):
                found[device] = outcome
        return found

    def nearest(self, rule: Rule) -> int | None:
        """The least bucket of a device that is online and that the rule does not let in yet."""
        buckets = (
            bucket_of(rule.release, device)
            for device, standing in self.devices.items()
            if standing.group == rule.group and standing.online
        )
        return min((bucket for bucket in buckets if bucket >= rule.upto), default=None)

    def failures(self, rule: Rule) -> dict[str, str]:
        """Why it failed, by device."""
        return {
            device: self.alarms.get(device) or self.devices[device].reason or "refused"
            for device, outcome in self.outcomes(rule).items()
            if outcome is Outcome.FAILED
        }

    def _outcome(self, device: str, standing: Standing) -> Outcome:
        if self.release in standing.bad or device in self.alarms:
            return Outcome.FAILED
        return Outcome.GOOD if standing.installed == self.release else Outcome.PENDING

    def _hear_state(self, device: str, payload: bytes) -> None:
        state = parse_state(payload)
        if state.device != device:
            raise ProtocolError(f"a state of {state.device!r} on the topic of {device!r}")
        before = self.devices.get(device)
        if before is not None and before.outbox == state.outbox and before.epoch > state.epoch:
            return
        standing = Standing(state.epoch, state.outbox, state.online)
        fields = Fields(load(payload), "state", ProtocolError, ignore_unknown=True)
        update = fields.optional_child("update")
        if update is not None:
            said = self._of_its_model(update)
            if said is not None:
                standing.group = said.optional_text("group")
                standing.installed = said.optional_text("installed")
                standing.bad = said.texts("bad")
                standing.reason = said.optional_text("reason") or ""
        elif before is not None and (not state.online or before.outbox == state.outbox):
            # A will is written before the fact, and a device that has just started may say
            # nothing of updates yet: what it refused, it refused.
            standing.group, standing.installed = before.group, before.installed
            standing.bad, standing.reason = before.bad, before.reason
        self.devices[device] = standing

    def _of_its_model(self, update: Fields) -> Fields | None:
        """What is said of the release's model; None where the device has others only."""
        name = parse_release_id(self.release)[0]
        others = update.optional_child("others")
        own = None if others is None else others.optional_child(name)
        # A device that does not say which model it speaks of has one, as far as it says.
        return own or (update if update.optional_text("model") in (None, name) else None)

    def _hear_event(self, device: str, row: EventRow, since_s: float) -> None:
        # What sensors give is nothing that a release does to a device.
        if row.kind not in ALARMS or row.fields.get("of") == "inputs":
            return
        release = row.fields.get("release")
        if release == self.release:
            self.alarms[device] = f"{row.kind}: {row.fields.get('reason', '')}"
        elif release is None and row.time_s >= since_s:
            standing = self.devices.get(device)
            if standing is not None and standing.installed == self.release:
                self.alarms[device] = row.kind
