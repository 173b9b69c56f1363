"""What to send next, and when to send it again: delivery as a table, without I/O.

Events go in, effects come out, time is an argument. The session knows numbers,
never payloads: which are on disk, which are in flight, which the other side
has. A message that is not confirmed in time is sent again; when nothing at all
is confirmed, one message at a time probes until the other side is back.

    OFFLINE --Up--> ONLINE --Down--> OFFLINE
                    ONLINE --an ack of unborn numbers--> ROTATING, until another outbox begins

Everything in flight is forgotten when the line falls, because a broker that
died has forgotten it, too: the next connection begins at the mark.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

from edgeml.sync.flow import (
    Acked,
    Allowed,
    Answered,
    Ask,
    Audit,
    Committed,
    Down,
    Effect,
    Event,
    Lane,
    LetGo,
    Nothing,
    Phase,
    Postponed,
    Read,
    Rotate,
    Sent,
    Tick,
    Trust,
    Up,
)
from edgeml.sync.messages import Ack
from edgeml.sync.spans import Spans

PROBE_PAUSE_MAX_S: Final = 300.0
AUDIT_DELAY_S: Final = 5.0
GAP_PAUSE_S: Final = 5.0
_INGESTS_REMEMBERED: Final = 8
_FOREVER: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Policy:
    """How bold the session is.

    Attributes:
        outbox: the outbox's id; acknowledgements of another are not for us.
        by_fleet: rows are kept until the store has them; else until the broker answered.
        window: most messages sent and not yet confirmed.
        resend_after_s: the first patience with a message; it doubles while nothing is confirmed.
    """

    outbox: str
    by_fleet: bool
    window: int
    resend_after_s: float


@dataclass(slots=True)
class _Cursor:
    """Where a lane's next read begins and ends; empty when first > last."""

    first: int
    last: int
    descending: bool = False


@dataclass(frozen=True, slots=True)
class _Flight:
    """One message on its way."""

    token: int
    spans: Spans
    sent_s: float
    lane: Lane


@dataclass(slots=True)
class Session:
    """The state of one outbox's delivery.

    Numbers beyond `vouched` are not sent before the store was heard, because what it knows beyond
    them it cannot have from this file; None where it does not matter.

    Invariant: a number below `next_seq` is confirmed, in flight, or ahead of a cursor.
    """

    policy: Policy
    next_seq: int
    mark: int
    vouched: int | None = None
    phase: Phase = Phase.OFFLINE
    resends: int = 0
    _window: int = 1
    _flights: list[_Flight] = field(default_factory=list)
    _again: dict[Lane, Spans] = field(default_factory=dict)
    _cursors: dict[Lane, _Cursor] = field(default_factory=dict)
    _new_turn: bool = True
    _reading: bool = False
    _hold_results: bool = False
    _hold_events: bool = False
    _patience_s: float = 0.0
    _probing: bool = False
    _ingests: tuple[str, ...] = ()
    _latest: Ack | None = None
    _audit_s: float | None = None
    _gap_s: float = 0.0
    _gaps: bool = False
    _trusted: bool = False
    _ask_s: float = 0.0
    _ask_pause_s: float = 0.0

    @property
    def in_flight(self) -> int:
        """Messages sent and not yet confirmed."""
        return len(self._flights)

    def handle(self, event: Event, now_s: float) -> list[Effect]:
        """What follows from an event.

        Args:
            event: what happened.
            now_s: the monotonic clock.

        Returns:
            What is to be done, in order; at most one `Read`, which is the last.
        """
        step = self._TABLE.get((self.phase, type(event)))
        if step is None:
            return []
        effects = step(self, event, now_s)
        return [*effects, *self._next_read()]

    def next_deadline_s(self) -> float | None:
        """When the next `Tick` is due; None while nothing is timed."""
        if self.phase is not Phase.ONLINE:
            return None
        times = [flight.sent_s + self._patience_s for flight in self._flights[:1]]
        if self._audit_s is not None:
            times.append(self._audit_s)
        if self._is_held():
            times.append(self._ask_s)
        if self._gaps:
            times.append(self._gap_s + GAP_PAUSE_S)
        return min(times, default=None)

    def _up(self, event: Up, now_s: float) -> list[Effect]:
        self.phase = Phase.ONLINE
        self._window = max(1, min(self.policy.window, event.receive_maximum))
        self._flights.clear()
        self._again.clear()
        self._patience_s = self.policy.resend_after_s
        self._probing = False
        self._reading = False
        self._hold_results = self._hold_events = False
        self._ingests = ()
        self._audit_s = None
        self._gaps = False
        self._gap_s = now_s
        self._ask_pause_s = self._patience_s
        self._ask_s = now_s + self._ask_pause_s
        old_last = self._last()
        self._cursors = {
            Lane.NEW_EVENTS: _Cursor(old_last + 1, _FOREVER),
            Lane.OLD_EVENTS: _Cursor(1, old_last, descending=True),
            Lane.NEW_RESULTS: _Cursor(old_last + 1, _FOREVER),
            Lane.OLD_RESULTS: _Cursor(1, old_last),
        }
        return []

    def _down(self, _event: Down, _now_s: float) -> list[Effect]:
        self.phase = Phase.OFFLINE
        self._flights.clear()
        return []

    def _note_commit(self, event: Committed, _now_s: float) -> list[Effect]:
        self.next_seq, self.vouched = event.next_seq, event.vouched
        return []

    def _committed(self, event: Committed, _now_s: float) -> list[Effect]:
        self.next_seq, self.vouched = event.next_seq, event.vouched
        self._gaps = self._gaps or bool(event.gaps)
        return []

    def _sent(self, event: Sent, now_s: float) -> list[Effect]:
        self._reading = False
        self._flights.append(_Flight(event.token, event.spans, now_s, _again_lane(event.read)))
        self._advance(event.read, event.spans)
        return []

    def _nothing(self, event: Nothing, _now_s: float) -> list[Effect]:
        self._reading = False
        lane = event.read.lane
        if event.read.only is not None:
            self._again.pop(lane, None)
        else:
            cursor = self._cursors[lane]
            # What is still in memory will have greater numbers than any that exists now.
            if cursor.last == _FOREVER:
                cursor.first = max(cursor.first, event.read.last + 1)
            else:
                cursor.first, cursor.last = 1, 0
        return []

    def _postponed(self, event: Postponed, _now_s: float) -> list[Effect]:
        # Events may go when results may not, never the other way round.
        self._reading = False
        self._hold_results = True
        self._hold_events = event.read.of_events
        return []

    def _allowed(self, _event: Allowed, _now_s: float) -> list[Effect]:
        self._hold_results = self._hold_events = False
        return []

    def _answered(self, event: Answered, now_s: float) -> list[Effect]:
        flight = next((f for f in self._flights if f.token == event.token), None)
        if flight is None:
            return []
        if not self.policy.by_fleet:
            self._flights.remove(flight)
            return [LetGo(flight.spans, None)]
        if not event.reached:
            # Nobody is there to hear it. Probe; an ingest that arrives says so itself.
            self._start_probing(now_s)
        return []

    def _acked(self, event: Acked, now_s: float) -> list[Effect]:
        ack = event.ack
        if ack.outbox != self.policy.outbox or not self.policy.by_fleet:
            return []
        known = ack.above.ranges[-1][1] if ack.above else ack.mark
        stored = ack.above.plus(1, ack.mark) if ack.mark else ack.above
        if max(known, ack.mark) > self._last():
            self.phase = Phase.ROTATING
            self._flights.clear()
            # Up to the last number that was vouched for, both copies hold the same rows.
            last = 0 if self._trusted else self._last()
            ours = stored.minus(Spans(((last + 1, _FOREVER),)))
            return [*([LetGo(ours, None)] if ours else []), Rotate()]
        self._latest = ack
        effects: list[Effect] = []
        if self.vouched is not None and not self._trusted and not event.retained:
            self._trusted = True
            effects.append(Trust())
        kept = [f for f in self._flights if f.spans.minus(stored)]
        progress = len(kept) < len(self._flights) or ack.mark > self.mark
        self._flights = kept
        if progress:
            self._patience_s = self.policy.resend_after_s
            self._probing = False
            self.mark = max(self.mark, ack.mark)
        news = ack.ingest not in self._ingests
        if stored and (progress or news):
            # A word that changes nothing is not worth a write to the card.
            effects.append(LetGo(stored, self.mark))
        if news:
            self._ingests = (*self._ingests, ack.ingest)[-_INGESTS_REMEMBERED:]
            self._audit_s = now_s + AUDIT_DELAY_S
            self._patience_s = self.policy.resend_after_s
            self._probing = False
            if ack.greeting and not event.retained:
                # What the old ingest had not committed died with it.
                self._send_again(self._flights)
        return effects

    def _tick(self, _event: Tick, now_s: float) -> list[Effect]:
        if self._gaps and now_s >= self._gap_s + GAP_PAUSE_S:
            self._gaps, self._gap_s = False, now_s
            self._cursors[Lane.OLD_EVENTS] = _Cursor(1, self._last(), descending=True)
        overdue = [f for f in self._flights if now_s >= f.sent_s + self._patience_s]
        if overdue:
            if self._probing:
                self._patience_s = min(self._patience_s * 2, PROBE_PAUSE_MAX_S)
            self._probing = True
            self._send_again(overdue)
        if self._audit_s is not None and now_s >= self._audit_s and self._latest is not None:
            self._audit_s = None
            self.mark = min(self.mark, self._latest.mark)
            return [Audit(self._latest)]
        if self._is_held() and now_s >= self._ask_s:
            self._ask_pause_s = min(self._ask_pause_s * 2, PROBE_PAUSE_MAX_S)
            self._ask_s = now_s + self._ask_pause_s
            return [Ask()]
        return []

    def _last(self) -> int:
        """The last number that may be sent."""
        last = self.next_seq - 1
        return last if self.vouched is None else min(self.vouched, last)

    def _is_held(self) -> bool:
        return not self._trusted and self._last() < self.next_seq - 1

    def _start_probing(self, now_s: float) -> None:
        if not self._probing:
            self._probing = True
            self._flights = [replace(f, sent_s=now_s) for f in self._flights]

    def _send_again(self, flights: list[_Flight]) -> None:
        if not flights:
            return
        self.resends += len(flights)
        tokens = {f.token for f in flights}
        self._flights = [f for f in self._flights if f.token not in tokens]
        for flight in flights:
            before = self._again.get(flight.lane, Spans())
            self._again[flight.lane] = before.union(flight.spans)

    def _advance(self, read: Read, spans: Spans) -> None:
        first, last = spans.ranges[0][0], spans.ranges[-1][1]
        if read.only is not None:
            # What lies before the last sent number and was not sent is not there any more.
            left = read.only.above(last)
            self._again[read.lane] = left
            if not left:
                del self._again[read.lane]
            return
        cursor = self._cursors[read.lane]
        if read.descending:
            cursor.last = first - 1
        else:
            cursor.first = last + 1

    def _next_read(self) -> list[Effect]:
        window = 1 if self._probing else self._window
        if self.phase is not Phase.ONLINE or self._reading or len(self._flights) >= window:
            return []
        read = self._choose()
        if read is None:
            return []
        self._reading = True
        return [read]

    def _choose(self) -> Read | None:
        self._new_turn = not self._new_turn
        results = [Lane.NEW_RESULTS, Lane.OLD_RESULTS]
        lanes = [Lane.EVENTS_AGAIN, Lane.NEW_EVENTS, Lane.OLD_EVENTS] * (not self._hold_events)
        if not self._hold_results:
            lanes += [Lane.RESULTS_AGAIN, *(results if self._new_turn else results[::-1])]
        for lane in lanes:
            read = self._read_of(lane)
            if read is not None:
                return read
        return None

    def _read_of(self, lane: Lane) -> Read | None:
        skip = Spans.of(r for f in self._flights for r in f.spans.ranges)
        if lane in (Lane.EVENTS_AGAIN, Lane.RESULTS_AGAIN):
            only = self._again.get(lane)
            if not only:
                return None
            first, last = only.ranges[0][0], only.ranges[-1][1]
            return Read(lane, first, last, descending=False, skip=skip, only=only)
        cursor = self._cursors[lane]
        last = min(cursor.last, self._last())
        return (
            Read(lane, cursor.first, last, cursor.descending, skip)
            if cursor.first <= last
            else None
        )

    _TABLE: ClassVar[Mapping[tuple[Phase, type], Callable[[Any, Any, float], list[Effect]]]] = {
        (Phase.OFFLINE, Up): _up,
        (Phase.OFFLINE, Committed): _note_commit,
        (Phase.ONLINE, Up): _up,
        (Phase.ONLINE, Down): _down,
        (Phase.ONLINE, Committed): _committed,
        (Phase.ONLINE, Sent): _sent,
        (Phase.ONLINE, Nothing): _nothing,
        (Phase.ONLINE, Postponed): _postponed,
        (Phase.ONLINE, Allowed): _allowed,
        (Phase.ONLINE, Answered): _answered,
        (Phase.ONLINE, Acked): _acked,
        (Phase.ONLINE, Tick): _tick,
        (Phase.ROTATING, Up): _up,
        (Phase.ROTATING, Down): _down,
        (Phase.ROTATING, Committed): _note_commit,
    }


def _again_lane(read: Read) -> Lane:
    return Lane.EVENTS_AGAIN if read.of_events else Lane.RESULTS_AGAIN
