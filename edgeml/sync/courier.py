"""Between outbox, session and line: carries out what the session decides.

The courier owns no thread. Whoever calls `pump` drives it: the delivery's
thread on a device, a simulation in the tests. It reads entries, makes them
into messages that the broker accepts, and tells the session what became of them.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from edgeml.clock import Clock
from edgeml.errors import LinkError, OutboxError, ProtocolError
from edgeml.result import ModelRef
from edgeml.sync import flow, topics
from edgeml.sync.batches import MESSAGE_OVERHEAD_BYTES, encode_batch, too_small
from edgeml.sync.budget import Budget
from edgeml.sync.channels import CHANNEL_OF
from edgeml.sync.entries import Kind, spans_of
from edgeml.sync.gathering import gather
from edgeml.sync.line import Down, Line, LinkEvent, Message, Published, Received, Up
from edgeml.sync.messages import (
    Ack,
    Receipt,
    Refusal,
    State,
    digest_of,
    encode_latest,
    parse_answer,
)
from edgeml.sync.outbox import Outbox
from edgeml.sync.outboxfile import BrokenOutboxError
from edgeml.sync.session import Policy, Session
from edgeml.sync.settings import Mqtt
from edgeml.sync.spans import Spans
from edgeml.sync.wire import compress
from edgeml.sync.writer import Writer
from edgeml.version import __version__

log: Final = logging.getLogger("edgeml.delivery")

_READ_RETRY_S: Final = 5.0


@dataclass(slots=True)
class LineRecord:
    """What became of the line, for health."""

    connected: bool = False
    mqtt5: bool = False
    outages: int = 0
    connection: int = 0
    last_error: str | None = None


class Courier:
    """One device's delivery, driven by `pump`.

    Args:
        device: the device's id.
        settings: how messages are cut and confirmed.
        outbox: what waits; this is its reading side.
        writer: lets rows go and rewrites the outbox.
        line: the way to the broker.
        clock: the time.
    """

    def __init__(
        self,
        device: str,
        settings: Mqtt,
        outbox: Outbox,
        writer: Writer,
        line: Line,
        clock: Clock,
    ) -> None:
        self._device = device
        self._settings = settings
        self._outbox = outbox
        self._writer = writer
        self._line = line
        self._clock = clock
        self._commits: deque[Spans] = deque()
        self._isolated: deque[Spans] = deque()
        self._max_packet_bytes = settings.batch_bytes
        self._receive_maximum = settings.inflight_batches
        self._split_ordered = False
        self._again_s: float | None = None
        self._latest_seq = 0
        self._budget = Budget(settings.allowance, clock.monotonic_s())
        self._allowed_s: float | None = None
        self._model: ModelRef | None = None
        self._update: Mapping[str, Any] | None = None
        self.record = LineRecord()
        self._ack_topic = self._topic(topics.ACK)
        self._session = self._new_session()

    @property
    def session(self) -> Session:
        """The session, for health and tests."""
        return self._session

    def committed(self, gaps: Spans) -> None:
        """Rows reached the disk; from the writer's thread."""
        self._commits.append(gaps)
        self._line.wake()

    def pump(self, timeout_s: float) -> None:
        """Wait for something to happen, at most so long, and do what follows."""
        deadline_s = self._session.next_deadline_s()
        for due_s in (deadline_s, self._allowed_s):
            if due_s is not None:
                timeout_s = min(timeout_s, max(due_s - self._clock.monotonic_s(), 0.0))
        for event in self._line.step(timeout_s):
            self._on_line_event(event)
        while self._commits:
            self._on_commit(self._commits.popleft())
        deadline_s = self._session.next_deadline_s()
        if deadline_s is not None and self._clock.monotonic_s() >= deadline_s:
            self._tell(flow.Tick())
        if self._allowed_s is not None and self._clock.monotonic_s() >= self._allowed_s:
            self._allowed_s = None
            self._tell(flow.Allowed())
        if self._again_s is not None and self._clock.monotonic_s() >= self._again_s:
            self._again_s = None
            if self.record.connected:
                self._tell(flow.Up(self._receive_maximum))

    def state(self, connection: int, *, online: bool) -> Message:
        """The state message of a connection: its birth, its farewell and its will."""
        outbox = self._outbox
        epoch = (outbox.boots, connection)
        state = State(
            online=online,
            device=self._device,
            outbox=outbox.id,
            epoch=epoch,
            time_s=self._clock.now_s(),
            version=__version__,
            model=self._model,
            update=self._update,
        )
        return Message(self._topic(topics.STATE), state.encode(), qos=1, retain=True)

    def set_model(self, model: ModelRef | None) -> None:
        """Another model runs now: say so on the state topic."""
        if model != self._model:
            self._model = model
            self._announce()

    def set_update(self, update: Mapping[str, Any] | None) -> None:
        """An update went a step further: say so on the state topic."""
        if update != self._update:
            self._update = update
            self._announce()

    def _announce(self) -> None:
        if self.record.connected:
            self._publish(self.state(self.record.connection, online=True))

    def send_health(self, payload: bytes) -> None:
        """Say how the device is; nobody confirms it."""
        self._publish(Message(self._topic(topics.HEALTH), payload, qos=0))

    def _topic(self, channel: str) -> str:
        return topics.device_topic(self._settings.fleet, self._device, channel)

    def _new_session(self) -> Session:
        settings, by_fleet = self._settings, self._settings.ack == "fleet"
        window, patience_s = settings.inflight_batches, settings.resend_after_s
        policy = Policy(self._outbox.id, by_fleet, window, patience_s, settings.batch_rows)
        return Session(policy, self._outbox.next_seq, self._outbox.mark, self._vouched())

    def _vouched(self) -> int | None:
        return self._outbox.vouched if self._settings.ack == "fleet" else None

    def _begin_again(self) -> None:
        """Another outbox: nothing that the session knew is true any more."""
        resends = self._session.resends
        self._session = self._new_session()
        self._session.resends = resends
        self._latest_seq = 0
        if self.record.connected:
            self._announce()
            self._tell(flow.Up(self._receive_maximum))

    def _on_line_event(self, event: LinkEvent) -> None:
        if isinstance(event, Up) and (problem := too_small(event.max_packet_bytes)):
            self.record.last_error = problem
        elif isinstance(event, Up):
            self.record.connected, self.record.mqtt5 = True, event.mqtt5
            self.record.connection, self.record.last_error = event.connection, None
            self._max_packet_bytes = min(self._settings.batch_bytes, event.max_packet_bytes)
            self._receive_maximum = event.receive_maximum
            self._announce()
            self._tell(flow.Up(self._receive_maximum))
        elif isinstance(event, Down):
            self.record.connected, self.record.last_error = False, event.reason
            self.record.outages += event.was_up
            self._tell(flow.Down())
        elif isinstance(event, Published):
            if event.refused is not None:
                self.record.last_error = f"the broker refused a message: {event.refused}"
                log.warning("%s", self.record.last_error)
            else:
                self._tell(flow.Answered(event.token, event.reached))
        elif event.topic == self._ack_topic:
            self._on_ack(event)

    def _on_ack(self, event: Received) -> None:
        if not event.payload:
            return  # a retained message was cleared
        try:
            answer = parse_answer(event.payload)
        except ProtocolError as exc:
            log.warning("%s: %s", event.topic, exc)
            return
        if isinstance(answer, Refusal):
            log.warning("the ingest refuses a message: %s", answer.reason)
            self._tell(flow.Refused(answer.digest))
        elif isinstance(answer, Receipt):
            self._tell(flow.Stored(answer.digests))
        else:
            self._tell(flow.Acked(answer, event.retained))

    def _on_commit(self, gaps: Spans) -> None:
        isolated = Spans()
        while self._isolated:
            isolated = isolated.union(self._isolated.popleft())
        committed = flow.Committed(self._outbox.next_seq, gaps, self._vouched(), isolated)
        if self._outbox.id != self._session.policy.outbox:
            self._begin_again()
        elif self._split_ordered and self.record.connected:
            self._split_ordered = False
            self._tell(committed)
            self._tell(flow.Up(self._receive_maximum))
        else:
            self._tell(committed)

    def _tell(self, event: flow.Event) -> None:
        events: deque[flow.Event] = deque([event])
        while events:
            session = self._session
            for effect in session.handle(events.popleft(), self._clock.monotonic_s()):
                followed = self._carry_out(effect)
                if followed is not None:
                    events.append(followed)

    def _carry_out(self, effect: flow.Effect) -> flow.Event | None:
        if isinstance(effect, flow.Read):
            return self._send_if_allowed(effect)
        if isinstance(effect, flow.LetGo):
            self._writer.let_go(effect.acked, effect.mark)
        elif isinstance(effect, flow.Audit):
            self._order_audit(effect.ack)
        elif isinstance(effect, flow.Isolate):
            self._order(partial(self._isolate, effect.spans))
        elif isinstance(effect, flow.GiveUp):
            self._order(partial(self._outbox.give_up, effect.spans))
        elif isinstance(effect, flow.Trust):
            self._order(self._outbox.vouch)
        elif isinstance(effect, flow.Ask):
            self._announce()
        else:
            log.error(
                "%s: the store knows more than this file gave: an old copy", self._outbox.path
            )
            self._order(self._outbox.rotate)
        return None

    def _order(self, work: Callable[[], Spans | None]) -> None:
        """Have the outbox rewritten, if it still is the one that the session speaks of."""
        outbox_id = self._session.policy.outbox

        def run() -> Spans:
            gaps = work() if self._outbox.id == outbox_id else None
            return gaps or Spans()

        self._writer.order(run)

    def _isolate(self, spans: Spans) -> Spans:
        gaps = self._outbox.isolate(spans)
        self._isolated.append(spans)
        return gaps

    def _order_audit(self, ack: Ack) -> None:
        stored = ack.above.plus(1, ack.mark) if ack.mark else ack.above
        horizon = ack.horizon(self._outbox.next_seq - 1)
        self._order(
            lambda: self._outbox.audit(stored, horizon, "the store lost what it had confirmed")
        )

    def _send_if_allowed(self, read: flow.Read) -> flow.Event | None:
        now_s = self._clock.monotonic_s()
        wait_s = self._budget.wait_s(now_s, self._clock.now_s(), urgent=read.of_events)
        if wait_s > 0:
            self._allowed_s = now_s + wait_s
            return flow.Postponed(read)
        return self._send(read)

    def _send(self, read: flow.Read) -> flow.Event | None:
        limit_bytes = self._max_packet_bytes - MESSAGE_OVERHEAD_BYTES
        try:
            entries = gather(self._outbox, read, limit_bytes, self._settings.batch_rows)
        except BrokenOutboxError as exc:
            self._order(partial(_fail, exc))  # the writer sets the file aside
            return None
        except OutboxError as exc:
            log.warning("%s", exc)
            self._again_s = self._clock.monotonic_s() + _READ_RETRY_S
            return None
        if entries is None:
            self._order_split(limit_bytes)
        if entries is None or self._outbox.id != self._session.policy.outbox:
            return None  # what was read is being rewritten, or was: the commit says so
        if not entries:
            return flow.Nothing(read)
        entries.sort(key=lambda entry: entry.seq)
        rows = [row for entry in entries for row in entry.rows]
        model = entries[0].model
        payload = encode_batch(self._session.policy.outbox, model, rows)
        channel = CHANNEL_OF[entries[0].kind]
        if self._settings.compress:
            payload = compress(payload)
        token = self._publish(Message(self._topic(channel), payload, qos=1))
        self._budget.spend(len(payload))
        if channel == topics.RESULTS and model is not None:
            self._publish_latest(model, entries[-1].last, rows[-1])
        if token is None:
            return None
        count = sum(1 if e.kind is Kind.GAP else e.last - e.seq + 1 for e in entries)
        return flow.Sent(read, token, spans_of(entries), count, digest_of(payload))

    def _publish_latest(self, model: ModelRef, seq: int, row: bytes) -> None:
        if not self._settings.latest or seq <= self._latest_seq:
            return
        self._latest_seq = seq
        try:
            flat = encode_latest(self._device, model, row)
        except (ValueError, LookupError, TypeError):
            return  # damaged on disk; the ingest will say so
        self._publish(Message(self._topic(topics.LATEST), flat, qos=0, retain=True))
        self._budget.spend(len(flat))

    def _publish(self, message: Message) -> int | None:
        try:
            return self._line.publish(message)
        except LinkError:
            return None  # the line says so itself, with its next step

    def _order_split(self, limit_bytes: int) -> None:
        if not self._split_ordered:
            self._split_ordered = True
            self._order(lambda: self._outbox.split(limit_bytes))


def _fail(exc: OutboxError) -> None:
    raise exc
