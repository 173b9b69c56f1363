"""From the broker into the store, and the word that it is safe back to the device.

One loop in one thread: gather messages for a moment, store them in one
transaction, then publish each outbox's mark and answer the broker. Nothing is
answered before it is durable, so an ingest that dies has promised nothing. A
message that cannot be read goes to the dead letters, and then the device is
told which one it was, so that it never stops the rest.
"""

import contextlib
import hashlib
import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from edgeml.clock import Clock, SystemClock
from edgeml.errors import LinkError, ProtocolError, StoreError
from edgeml.fleet import addresses
from edgeml.fleet.answers import encode_answer, exceeds_ack
from edgeml.fleet.batches import Batch, parse_events, parse_results, parse_samples
from edgeml.fleet.selfreports import parse_health, parse_state
from edgeml.fleet.store import Delivered, Intake, Letter, Progress, Store, UnstorableError
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.line import Down, Line, LinkEvent, Message, Received, Up
from edgeml.sync.link import Link
from edgeml.sync.messages import (
    Ack,
    Receipt,
    Refusal,
    digest_of,
)
from edgeml.sync.wire import LaterVersionError

log: Final = logging.getLogger("edgeml.ingest")

GROUP: Final = "edgeml-ingest"
_RETRY_S: Final = 1.0
_IDLE_S: Final = 1.0
_LETTER_BYTES: Final = 256 * 1024
_REASON_LETTERS: Final = 200
_LETTERS_REMEMBERED: Final = 10_000
_PARSERS: Final = {
    topics.RESULTS: parse_results,
    topics.EVENTS: parse_events,
    topics.SAMPLES: parse_samples,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is gathered before it is stored.

    Attributes:
        interval_s: a message waits at most this long for company.
        enough_bytes: with so many bytes in hand none waits: they are worth a commit.
        messages: so many messages are stored at once, before the interval is over; the
            broker sends no more than that before it is answered.
        size_bytes: so many bytes of them are stored at once; what is read takes several times
            their memory.
    """

    interval_s: float = 0.05
    enough_bytes: int = 64 * 1024
    messages: int = 1_000
    size_bytes: int = 4 * 1024 * 1024


@dataclass(slots=True)
class Tally:
    """What the ingest has done since it began."""

    messages: int = 0
    rows: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    commits: int = 0
    outages: int = 0


class Ingest:
    """The receiving end of one fleet; several may share a store and the load.

    Args:
        connection: the broker.
        fleet: whose messages to take.
        store: where they go.
        limits: how much is gathered before it is stored.
        clock: the time.
        line: another way to the broker, with the subscriptions of `filters`; for simulations.

    Raises:
        ConfigError: the fleet's name cannot stand in a topic.
    """

    def __init__(
        self,
        connection: Connection,
        fleet: str,
        store: Store,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        line: Line | None = None,
    ) -> None:
        self._fleet = topics.checked_id(fleet, "fleet")
        self._store = store
        self._limits = Limits() if limits is None else limits
        self._clock = SystemClock() if clock is None else clock
        self._boot = secrets.token_hex(4)
        self._name = self._boot
        self._link: Line = line or Link(
            connection,
            client_id=f"edgeml-ingest-{fleet}-{self._boot}",
            subscriptions=partial(filters, fleet),
            clock=self._clock,
            receive_maximum=self._limits.messages,
            manual_ack=True,
        )
        self._intake = Intake()
        self._tokens: list[int] = []
        self._asked: dict[tuple[str, str], bool] = {}
        self._refused: list[tuple[str, Refusal]] = []
        self._receipts: dict[str, list[str]] = {}
        self._failing = False
        self._since_s: float | None = None
        self._size_bytes = 0
        self._buried: OrderedDict[bytes, None] = OrderedDict()
        self._greetings = 0
        self._owes_greeting = False
        self.tally = Tally()

    @property
    def online(self) -> bool:
        """Whether the broker can be reached."""
        return self._link.online

    def run(self, stop: threading.Event) -> None:
        """Receive until told to stop, then store what is in hand and say goodbye."""
        self._link.open()
        while not stop.is_set():
            self.step(_IDLE_S)
        self._flush()
        self._link.close()

    def wake(self) -> None:
        """End a `step` that waits, so that `run` sees its stop; from any thread."""
        self._link.wake()

    def step(self, timeout_s: float) -> None:
        """Receive for at most so long, and store what is due."""
        if self._since_s is not None:
            due_s = self._since_s + self._limits.interval_s
            timeout_s = min(timeout_s, max(due_s - self._clock.monotonic_s(), 0.0))
        self._take(self._link.step(timeout_s))
        if self._is_due():
            # The busier it is, the more goes into one commit: whatever has come by now.
            while not self._is_full() and self._take(self._link.step(0.0)):
                pass
            self._flush()

    def _take(self, events: Iterable[LinkEvent]) -> bool:
        """See to what happened on the line; whether a message was among it."""
        received = False
        for event in events:
            if isinstance(event, Up):
                # A broker that lost its memory lost the marks: say them all again.
                self._owe_greeting()
            elif isinstance(event, Down):
                # What was not answered comes again, from the broker or from the device.
                self._tokens.clear()
                if self._failing:
                    self._intake.batches.clear()
                    self._size_bytes = 0
                self.tally.outages += event.was_up
            elif isinstance(event, Received):
                received = True
                self._receive(event)
                if self._is_full() and not self._failing:
                    self._flush()
        return received

    def _is_due(self) -> bool:
        if self._since_s is None:
            return False
        if not self._failing and self._size_bytes >= self._limits.enough_bytes:
            return True
        return self._clock.monotonic_s() - self._since_s >= self._limits.interval_s

    def _owe_greeting(self) -> None:
        """With the next commit say every mark, and that what was on its way may be lost."""
        self._owes_greeting = True
        if self._since_s is None:
            self._since_s = self._clock.monotonic_s() - self._limits.interval_s

    def _receive(self, event: Received) -> None:
        if event.token:
            # Answered with the others also where it is not kept: a broker that waits for too many
            # answers sends nothing more.
            self._tokens.append(event.token)
        if self._failing and self._is_full():
            self._owe_greeting()
            return
        self.tally.messages += 1
        if self._since_s is None:
            self._since_s = self._clock.monotonic_s()
        if not event.payload:
            return  # a retained message was cleared
        try:
            self._sort(event)
        except ProtocolError as exc:
            self._bury(event, exc)

    def _is_full(self) -> bool:
        limits = self._limits
        return self._intake.size >= limits.messages or self._size_bytes >= limits.size_bytes

    def _sort(self, event: Received) -> None:
        address = addresses.parse(event.topic)
        parse = _PARSERS.get(address.channel)
        if parse is not None:
            self._gather(Delivered(address.device, parse(event.payload), event.payload))
        elif address.channel == topics.HEALTH:
            self._intake.note_health(address.device, parse_health(event.payload))
        elif address.channel == topics.STATE:
            state = parse_state(event.payload)
            if state.device != address.device:
                raise ProtocolError(
                    f"a state of {state.device!r} on the topic of {address.device!r}"
                )
            self._intake.note_state(state)
            if state.online:
                # A state that was retained is older than this connection, so the device's
                # messages may be, too; one that has just been sent is not.
                who = (state.device, state.outbox)
                self._asked[who] = self._asked.get(who, False) or event.retained
        # Anything else nobody asked for: amqtt hands out retained messages of other filters, too.

    def _gather(self, delivered: Delivered) -> None:
        self._intake.batches.append(delivered)
        self._size_bytes += len(delivered.payload)

    def _bury(self, event: Received, exc: ProtocolError) -> None:
        log.warning("%s: %s", event.topic, exc)
        self.tally.dead_letters += 1
        letter = Letter(event.topic, event.payload[:_LETTER_BYTES], str(exc))
        if self._is_news(letter):
            self._intake.letters.append(letter)
            self._size_bytes += len(letter.payload)
        # What a later version said is not wrong: the device keeps it until this end is upgraded.
        if not isinstance(exc, LaterVersionError):
            with contextlib.suppress(ProtocolError):
                address = addresses.parse(event.topic)
                if address.channel in _PARSERS:
                    self._refuse(address.device, event.payload, str(exc))

    def _is_news(self, letter: Letter) -> bool:
        """Whether a letter is kept: a device may send the same one for weeks, until an upgrade."""
        name = hashlib.sha256(b"\0".join((letter.topic.encode(), letter.payload))).digest()
        known = name in self._buried
        self._buried[name] = None
        self._buried.move_to_end(name)
        if len(self._buried) > _LETTERS_REMEMBERED:
            self._buried.popitem(last=False)
        return not known

    def _refuse(self, device: str, payload: bytes, reason: str) -> None:
        reason = reason[:_REASON_LETTERS]
        self._refused.append((device, Refusal(digest_of(payload), reason, self._name)))

    def _flush(self) -> None:
        """Store what is in hand, then, and only then, say so."""
        tokens = list(self._tokens)
        try:
            progress = self._commit(self._intake)
            asked = [(self._store.progress(*who), new) for who, new in self._asked.items()]
            greeted = self._store.current() if self._owes_greeting else ()
        except StoreError as exc:
            log.warning("%s; another attempt follows", exc)
            self._since_s = self._clock.monotonic_s() + _RETRY_S
            self._failing = True
            return
        self._failing = False
        self._intake = Intake()
        self._size_bytes = 0
        self._asked.clear()
        self._since_s = None
        if self._owes_greeting:
            self._owes_greeting = False
            # Under a new name, which tells devices to send again what has not been confirmed.
            self._greetings += 1
            self._name = f"{self._boot}.{self._greetings}"
        self._publish(progress)
        self._publish([p for p, new in asked if not new])
        self._publish([*greeted, *(p for p, new in asked if new)], greeting=True)
        for device, digests in self._receipts.items():
            self._say(device, Receipt(tuple(digests), self._name), retain=False)
        self._receipts.clear()
        for device, refusal in self._refused:
            self._say(device, refusal, retain=False)
        self._refused.clear()
        for token in tokens:
            self._link.acknowledge(token)
        del self._tokens[: len(tokens)]

    def _commit(self, intake: Intake) -> list[Progress]:
        if not intake:
            return []
        try:
            return self._commit_whole(intake)
        except UnstorableError as exc:
            log.warning("%s", exc)
        return [progress for part in intake.parts() for progress in self._commit_part(part)]

    def _commit_part(self, part: Intake) -> list[Progress]:
        try:
            return self._commit_whole(part)
        except UnstorableError as exc:
            self.tally.dead_letters += 1
            letter = self._letter(part, str(exc))
            letters = [letter] if self._is_news(letter) else []
            progress = self._commit_whole(Intake(letters=letters))
            for delivered in part.batches:
                self._refuse(delivered.device, delivered.payload, str(exc))
            return progress

    def _commit_whole(self, intake: Intake) -> list[Progress]:
        committed = self._store.commit(intake, self._clock.now_s())
        self.tally.commits += 1
        self.tally.rows += committed.new_rows
        self.tally.duplicates += committed.known_rows
        # Hashing is for those devices only that need it.
        crowded = {(p.device, p.outbox) for p in committed.progress if exceeds_ack(p.above)}
        for delivered in intake.batches if crowded else ():
            if (delivered.device, delivered.batch.outbox) in crowded:
                digests = self._receipts.setdefault(delivered.device, [])
                digests.append(digest_of(delivered.payload))
        return list(committed.progress)

    def _letter(self, part: Intake, reason: str) -> Letter:
        if part.batches:
            delivered = part.batches[0]
            topic = topics.device_topic(self._fleet, delivered.device, _channel(delivered.batch))
            return Letter(topic, delivered.payload[:_LETTER_BYTES], reason)
        return Letter("", repr(part).encode("utf-8", "replace")[:_LETTER_BYTES], reason)

    def _publish(self, progress: Iterable[Progress], *, greeting: bool = False) -> None:
        """Publish marks; one that gets lost is said again with the next batch or connection."""
        for p in progress:
            ack = Ack(p.outbox, p.mark, p.above, self._name, greeting)
            self._say(p.device, ack, retain=True)

    def _say(self, device: str, answer: Ack | Refusal | Receipt, *, retain: bool) -> None:
        topic = topics.device_topic(self._fleet, device, topics.ACK)
        with contextlib.suppress(LinkError):
            self._link.publish(Message(topic, encode_answer(answer), qos=0, retain=retain))


def _channel(batch: Batch) -> str:
    if batch.model is None:
        return topics.EVENTS
    return topics.SAMPLES if batch.samples else topics.RESULTS


def filters(fleet: str, shares: bool) -> tuple[str, ...]:
    """What an ingest subscribes to: bulk shared among ingests where the broker can do that."""
    bulk = tuple(addresses.every_device(fleet, name) for name in _PARSERS)
    # Retained states do not come over a shared subscription, so these are each ingest's own.
    others = tuple(addresses.every_device(fleet, name) for name in (topics.STATE, topics.HEALTH))
    if not shares:
        return (*bulk, *others)
    return (*(addresses.shared(GROUP, one) for one in bulk), *others)
