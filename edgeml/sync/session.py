"""What to send next, and when to send it again: delivery as a table, without I/O.

Events go in, effects come out, time is an argument. The session knows numbers,
never payloads: which are on disk, which are in flight, which the other side
has. A message that is not confirmed in the time that others took is sent again;
when nothing at all is confirmed, one message at a time probes until the other
side is back. What has just been produced waits for company while the last of it
is unanswered, so a busy receiving end gets fewer messages, not later ones.

    OFFLINE --Up--> ONLINE --Down--> OFFLINE
                    ONLINE --an ack of unborn numbers--> ROTATING, until another outbox begins

Everything in flight is forgotten when the line falls, because a broker that
died has forgotten it, too: the next connection begins at the mark.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

from edgeml.sync.flights import Flight, company_due_s, learnt, parted, spans_in
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
    GiveUp,
    Isolate,
    LetGo,
    Nothing,
    Phase,
    Postponed,
    Refused,
    Rotate,
    Sent,
    Stored,
    Tick,
    Trust,
    Up,
)
from edgeml.sync.lanes import Lanes
from edgeml.sync.marks import Marks
from edgeml.sync.patience import Estimate
from edgeml.sync.spans import Spans

PROBE_PAUSE_MAX_S: Final = 300.0
GAP_PAUSE_S: Final = 5.0
LATE_BEFORE_ALONE: Final = 3
_FOREVER: Final = (1 << 63) - 1
_Step = Callable[[Any, Any, float], list[Effect] | None]


@dataclass(frozen=True, slots=True)
class Policy:
    """How bold the session is.

    Attributes:
        outbox: the outbox's id; acknowledgements of another are not for us.
        by_fleet: rows are kept until the store has them; else until the broker answered.
        window: most messages sent and not yet confirmed.
        resend_after_s: the least patience with a message; more where confirmations take longer,
            and twice as much each time while nothing is confirmed.
        full_rows: so many new results are worth a message at any time.
    """

    outbox: str
    by_fleet: bool
    window: int
    resend_after_s: float
    full_rows: int = 1


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
    _flights: list[Flight] = field(default_factory=list)
    _lanes: Lanes = field(default_factory=Lanes)
    _isolating: list[Flight] = field(default_factory=list)
    _given_up: Spans = field(default_factory=Spans)
    _late: dict[int, int] = field(default_factory=dict)
    _heard_s: float = 0.0
    _reading: bool = False
    _patience_s: float = 0.0
    _estimate: Estimate = field(default_factory=Estimate)
    _company_s: float | None = None
    _probing: bool = False
    _marks: Marks = field(default_factory=Marks)
    _gap_s: float = 0.0
    _gaps: bool = False

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
        return [] if effects is None else [*effects, *self._next_read(now_s)]

    def next_deadline_s(self) -> float | None:
        """When the next `Tick` is due; None while nothing is timed."""
        if self.phase is not Phase.ONLINE:
            return None
        times = [flight.sent_s + self._patience_s for flight in self._flights[:1]]
        if self._marks.audit_s is not None:
            times.append(self._marks.audit_s)
        if self._is_held():
            times.append(self._marks.ask_s)
        if self._gaps:
            times.append(self._gap_s + GAP_PAUSE_S)
        if self._company_s is not None:
            times.append(self._company_s)
        return min(times, default=None)

    def _up(self, event: Up, now_s: float) -> list[Effect]:
        self.phase = Phase.ONLINE
        self._window = max(1, min(self.policy.window, event.receive_maximum))
        self._flights.clear()
        self._isolating.clear()
        self._late.clear()
        self._heard_s = now_s
        self._estimate = Estimate()
        self._patience_s = self._least_patience_s()
        self._probing = False
        self._reading = False
        self._marks.restart(now_s, self._patience_s)
        self._gaps = False
        self._gap_s = now_s
        self._lanes.restart(self._last())
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
        ready, self._isolating = parted(self._isolating, event.isolated)
        for flight in ready:
            self._lanes.send_again(flight.again, flight.spans)
        return []

    def _sent(self, event: Sent, now_s: float) -> list[Effect]:
        self._reading = False
        self._flights.append(Flight.of(event, now_s))
        self._lanes.sent(event.read, event.spans)
        return []

    def _nothing(self, event: Nothing, _now_s: float) -> list[Effect]:
        self._reading = False
        self._lanes.nothing(event.read)
        return []

    def _postponed(self, event: Postponed, _now_s: float) -> list[Effect]:
        self._reading = False
        self._lanes.hold(event.read)
        return []

    def _allowed(self, _event: Allowed, _now_s: float) -> list[Effect]:
        self._lanes.allow()
        return []

    def _answered(self, event: Answered, now_s: float) -> list[Effect] | None:
        flight = next((f for f in self._flights if f.token == event.token), None)
        if flight is None or (self.policy.by_fleet and event.reached):
            return None  # the broker's word alone changes nothing
        if not self.policy.by_fleet:
            self._flights.remove(flight)
            self._go_on(flight.spans, [flight], now_s)
            return [LetGo(flight.spans, None)]
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
            last = 0 if self._marks.trusted else self._last()
            ours = stored.minus(Spans(((last + 1, _FOREVER),)))
            return [*([LetGo(ours, None)] if ours else []), Rotate()]
        less = ack.mark < self.mark and self._marks.audit_s is None
        news = self._marks.hear(ack, less=less, now_s=now_s)
        # Said late, or by a store that lost what it had confirmed: it is asked once more.
        effects: list[Effect] = [Ask()] if less and not news else []
        if self.vouched is not None and not self._marks.trusted and not event.retained:
            self._marks.trusted = True
            effects.append(Trust())
        done, self._flights = parted(self._flights, stored)
        progress = bool(done) or ack.mark > self.mark
        if progress:
            self._go_on(stored, done, now_s)
            self.mark = max(self.mark, ack.mark)
        if stored and (progress or news):
            # A word that changes nothing is not worth a write to the card.
            effects.append(LetGo(stored, self.mark))
        if news:
            self._patience_s = self._least_patience_s()
            self._probing = False
        if self._marks.greets(ack) and not event.retained:
            # What the old ingest had not committed died with it.
            self._send_again(self._flights)
        return effects

    def _stored(self, event: Stored, now_s: float) -> list[Effect]:
        """Where there are many holes an ack cannot name everything; a message has one name."""
        flights = [f for f in self._flights if f.digest in event.digests]
        if not flights or not self.policy.by_fleet:
            return []
        self._flights = [f for f in self._flights if f not in flights]
        stored = spans_in(flights)
        self._go_on(stored, flights, now_s)
        return [LetGo(stored, None)]

    def _go_on(self, stored: Spans, done: list[Flight], now_s: float) -> None:
        """The other side is there, and has these numbers, and with them these messages."""
        self._heard_s = now_s
        self._lanes.suspects = self._lanes.suspects.minus(stored)
        self._probing = False
        for flight in done:
            self._late.pop(flight.spans.ranges[0][0], None)
        if any(flight.sent_once for flight in done):
            self._estimate = learnt(self._estimate, done, now_s)
            # A patience that was doubled stays so until a message that was sent once says better.
            self._patience_s = self._least_patience_s()

    def _least_patience_s(self) -> float:
        return min(max(self.policy.resend_after_s, self._estimate.due_s), PROBE_PAUSE_MAX_S)

    def _refused(self, event: Refused, _now_s: float) -> list[Effect]:
        """A row that nobody can read must not stop the rest: find it, and give it up."""
        flight = next((f for f in self._flights if f.digest == event.digest), None)
        if flight is None or not self.policy.by_fleet or not flight.spans.minus(self._given_up):
            return []
        self._flights.remove(flight)
        if flight.rows > 1:
            return [self._isolate(flight)]
        self._given_up = self._given_up.union(flight.spans)
        return [GiveUp(flight.spans)]

    def _isolate(self, flight: Flight) -> Effect:
        self._lanes.suspects = self._lanes.suspects.union(flight.spans)
        self._isolating.append(flight)
        return Isolate(flight.spans)

    def _tick(self, _event: Tick, now_s: float) -> list[Effect]:
        if self._gaps and now_s >= self._gap_s + GAP_PAUSE_S:
            self._gaps, self._gap_s = False, now_s
            self._lanes.rescan_events(self._last())
        overdue = [f for f in self._flights if now_s >= f.sent_s + self._patience_s]
        effects: list[Effect] = []
        late = overdue and self._heard_s > overdue[0].sent_s
        if overdue and (late or self._probing):
            self._patience_s = min(self._patience_s * 2, PROBE_PAUSE_MAX_S)
        if late:
            effects = self._send_late_again(overdue)
        elif overdue:
            self._probing = True
            self._send_again(overdue)
        said = self._marks.audit(now_s)
        if said is not None:
            self.mark = min(self.mark, said.mark)
            return [*effects, Audit(said)]
        if self._is_held() and now_s >= self._marks.ask_s:
            self._marks.asked(now_s, PROBE_PAUSE_MAX_S)
            return [*effects, Ask()]
        return effects

    def _last(self) -> int:
        """The last number that may be sent."""
        last = self.next_seq - 1
        return last if self.vouched is None else min(self.vouched, last)

    def _is_held(self) -> bool:
        return not self._marks.trusted and self._last() < self.next_seq - 1

    def _start_probing(self, now_s: float) -> None:
        if not self._probing:
            self._probing = True
            self._flights = [replace(f, sent_s=now_s) for f in self._flights]

    def _send_late_again(self, flights: list[Flight]) -> list[Effect]:
        """Others are confirmed and these are not: in the end their rows go one by one."""
        effects: list[Effect] = []
        for flight in flights:
            first = flight.spans.ranges[0][0]
            self._late[first] = self._late.get(first, 0) + 1
            if self._late[first] == LATE_BEFORE_ALONE:
                self._flights.remove(flight)
                effects.append(self._isolate(flight))
            else:
                self._send_again([flight])
        return effects

    def _send_again(self, flights: list[Flight]) -> None:
        if not flights:
            return
        self.resends += len(flights)
        tokens = {f.token for f in flights}
        self._flights = [f for f in self._flights if f.token not in tokens]
        for flight in flights:
            self._lanes.send_again(flight.again, flight.spans)

    def _next_read(self, now_s: float) -> list[Effect]:
        self._company_s = None
        window = 1 if self._probing else self._window
        if self.phase is not Phase.ONLINE or self._reading or len(self._flights) >= window:
            return []
        due_s = company_due_s(self._flights, self._estimate)
        waits = due_s is not None and now_s < due_s
        worth = self.policy.full_rows if waits else 1
        skip = spans_in(self._flights)
        read = self._lanes.choose(skip, self._last(), probing=self._probing, worth=worth)
        if read is not None:
            self._reading = True
            return [read]
        if waits and self._lanes.has_new(self._last()):
            self._company_s = due_s
        return []

    _TABLE: ClassVar[Mapping[tuple[Phase, type], _Step]] = {
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
        (Phase.ONLINE, Refused): _refused,
        (Phase.ONLINE, Stored): _stored,
        (Phase.ONLINE, Tick): _tick,
        (Phase.ROTATING, Up): _up,
        (Phase.ROTATING, Down): _down,
        (Phase.ROTATING, Committed): _note_commit,
    }
