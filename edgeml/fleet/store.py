"""What a fleet's store must be able to do, and the values that go in and come out.

The contract is one transaction: an intake goes in whole or not at all, and
only then may anybody be told how far the store is. A store counts what it has
by sequence numbers, so a batch that comes twice, late or out of order changes
nothing but the time it took.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgeml.errors import StoreError
from edgeml.fleet.batches import Batch
from edgeml.sync.messages import State
from edgeml.sync.spans import Spans


class UnstorableError(StoreError):
    """The store refuses this content for good; another attempt would end the same."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A batch that a device sent; `payload` is the message that it came in."""

    device: str
    batch: Batch
    payload: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that cannot be read, kept with the reason for somebody to look at."""

    topic: str
    payload: bytes
    reason: str


@dataclass(slots=True)
class Intake:
    """What arrived since the last commit."""

    batches: list[Delivered] = field(default_factory=list)
    states: dict[tuple[str, str], State] = field(default_factory=dict)
    healths: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.batches or self.states or self.healths or self.letters)

    @property
    def size(self) -> int:
        """How many messages there are, states and health aside: of those a device has one."""
        return len(self.batches) + len(self.letters)

    def note_state(self, state: State) -> None:
        """Add a state; of two of one outbox only the newer is kept."""
        key = (state.device, state.outbox)
        known = self.states.get(key)
        if known is None or state.epoch >= known.epoch:
            self.states.pop(key, None)  # so that the last one to come is the last one
            self.states[key] = state

    def note_health(self, device: str, health: Mapping[str, Any]) -> None:
        """Add what a device says of itself; only the last is kept."""
        self.healths[device] = health

    def parts(self) -> Iterator["Intake"]:
        """The same, message by message."""
        for batch in self.batches:
            yield Intake(batches=[batch])
        for key, state in self.states.items():
            yield Intake(states={key: state})
        for device, health in self.healths.items():
            yield Intake(healths={device: health})
        for letter in self.letters:
            yield Intake(letters=[letter])


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the store is with one outbox.

    Attributes:
        device: whose.
        outbox: which.
        mark: everything from 1 to here is in the store, as a row or as a gap.
        above: what it has beyond the mark.
    """

    device: str
    outbox: str
    mark: int
    above: Spans


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit came to: every outbox in it, rows that were new and rows that were not."""

    progress: tuple[Progress, ...]
    new_rows: int
    known_rows: int


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """One device, as the store knows it.

    Attributes:
        device: its id.
        online: what it, or the broker for it, said last.
        seen_s: unix time of its last message.
        model: `name@version` of the model it runs, if it said so.
        results: how many results are in the store.
        missing: how many rows are known to be lost, by its gap records.
        unaccounted: how many rows below the greatest number seen have not come yet.
        last_result_s: unix time of its newest result's last sample; it stays when that result has
            been deleted by age.
        last_label: that result's label.
        health: the fields of its last health message.
        health_s: unix time at which that message came; None where none ever did.
    """

    device: str
    online: bool
    seen_s: float
    model: str | None
    results: int
    missing: int
    unaccounted: int
    last_result_s: float | None
    last_label: str | None
    health: Mapping[str, Any]
    health_s: float | None


class Store(Protocol):
    """Where a fleet's results are kept. Every method raises `StoreError` when the store fails."""

    def commit(self, intake: Intake, received_s: float) -> Committed:
        """Store everything of an intake in one durable transaction.

        Raises:
            UnstorableError: something in it will never be accepted; nothing was stored.
        """
        ...

    def progress(self, device: str, outbox: str) -> Progress:
        """How far the store is with one outbox; mark 0 for one it never heard of."""
        ...

    def current(self) -> Sequence[Progress]:
        """How far it is with the outbox that each device used last."""
        ...

    def status(self) -> Sequence[DeviceStatus]:
        """Every device, by id."""
        ...

    def results(self, device: str | None = None) -> Iterator[Mapping[str, Any]]:
        """Every result, by device, outbox and number, as flat rows for an export."""
        ...

    def samples(self, device: str | None = None) -> Iterator[Mapping[str, Any]]:
        """Every sample, by device, outbox and number; `npy` is the window as numpy's file."""
        ...

    def gaps(self, device: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Every gap record: device, outbox, first, last, reason, time_s."""
        ...

    def letters(self) -> Sequence[Mapping[str, Any]]:
        """Every dead letter: received_s, topic, reason, payload."""
        ...

    def prune(self, before_s: float) -> int:
        """Delete what was received before a unix time; how many rows there were.

        Results, events and samples are counted. Dead letters go, too; gap records stay. What was
        deleted stays accounted for, so that a late duplicate does not come back.
        """
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...
