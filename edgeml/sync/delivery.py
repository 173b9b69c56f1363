"""A device's results on their way home: the writer's thread, the courier's thread, one face.

`put` is for the inference thread: it appends and returns. Everything else, the
disk, the line, the confirmations, happens in two threads that come and go with
`start` and `close`.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from operator import index
from types import TracebackType
from typing import Any, Final, SupportsIndex

from edgeml.arrays import Array
from edgeml.clock import Clock, SystemClock
from edgeml.errors import InputError, OutboxError
from edgeml.result import ModelRef, Result
from edgeml.sync import topics
from edgeml.sync.batches import MESSAGE_OVERHEAD_BYTES
from edgeml.sync.courier import Courier
from edgeml.sync.deliveryhealth import DeliveryHealth
from edgeml.sync.entries import Caps
from edgeml.sync.line import Message
from edgeml.sync.link import Link
from edgeml.sync.messages import encode_health
from edgeml.sync.outbox import Outbox
from edgeml.sync.pending import Pace, PendingEvent, PendingResult, PendingSample
from edgeml.sync.settings import Mqtt
from edgeml.sync.spans import Spans
from edgeml.sync.windows import sent_window
from edgeml.sync.wire import MAX_SEQ
from edgeml.sync.writer import Writer

log: Final = logging.getLogger("edgeml.delivery")

_ENTRY_BYTES: Final = 16 * 1024
_PUMP_S: Final = 1.0
_ABANDON_S: Final = 0.5


class Delivery:
    """Takes results and sees them home.

    Args:
        device_id: the device's id; it stands in topics.
        settings: the broker, the outbox and the limits.
        clock: the time.

    Raises:
        ConfigError: the device id cannot stand in a topic.
    """

    def __init__(self, device_id: str, settings: Mqtt, clock: Clock | None = None) -> None:
        self._device = topics.checked_id(device_id, "device id")
        self._settings = settings
        self._clock = SystemClock() if clock is None else clock
        self._outbox: Outbox | None = None
        self._writer: Writer | None = None
        self._courier: Courier | None = None
        self._link: Link | None = None
        self._thread = threading.Thread(target=self._run, name="edgeml-delivery", daemon=True)
        self._closing = threading.Event()
        self._fault: str | None = None
        self._health_due_s = self._clock.monotonic_s()
        self._model: ModelRef | None = None
        self._model_changed = False
        self._update: Mapping[str, Any] | None = None
        self._health_fields: Mapping[str, Any] = {}

    def __enter__(self) -> "Delivery":
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Open the outbox and begin; the broker is reached in the background, whenever that may be.

        Raises:
            OutboxError: the outbox cannot be opened, or another process has it.
            ConfigError: a certificate or a password file cannot be used.
        """
        settings = self._settings
        settings.password()
        settings.tls_context()
        caps = Caps(
            settings.results_cap_bytes,
            settings.events_cap_bytes,
            settings.max_age_s,
            settings.samples_cap_bytes,
        )
        ack_topic = topics.device_topic(settings.fleet, self._device, topics.ACK)
        link = Link(
            settings,
            client_id=f"edgeml-{settings.fleet}-{self._device}",
            subscriptions=lambda _: (ack_topic,),
            will=self._will,
            clock=self._clock,
        )
        # Last of what may fail: it holds a lock that nothing would let go.
        outbox = Outbox(settings.outbox_path(self._device), caps, self._clock)
        row_bytes = settings.batch_bytes - MESSAGE_OVERHEAD_BYTES
        pace = Pace(
            interval_s=settings.commit_interval_ms / 1000,
            rows=settings.commit_rows,
            row_bytes=row_bytes,
            entry_bytes=min(_ENTRY_BYTES, row_bytes),
            memory_rows=settings.memory_rows,
        )
        self._outbox = outbox
        self._writer = Writer(outbox, pace, self._clock, self._on_commit)
        self._link = link
        self._courier = Courier(self._device, settings, outbox, self._writer, link, self._clock)
        self._writer.start()
        self._thread.start()
        if outbox.aside is not None:
            self.event("outbox_damaged", {"set_aside": outbox.aside.name})

    def put(
        self,
        result: Result,
        *,
        window_index: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Take a result; returns at once.

        Args:
            result: what the model said.
            window_index: the window's number in its source, if it has one.
            extra: more fields for the row, as JSON; not to be changed afterwards.

        Raises:
            InputError: it is not a result, one of its times is not finite, or the window's index
                is not a whole number.
            OutboxError: the delivery is not running.
        """
        if not isinstance(result, Result):
            raise InputError(f"put takes a Result; this is a {type(result).__name__}")
        if not isfinite(result.start_s + result.end_s):
            raise InputError(
                f"put takes a result with finite times; this is from {result.start_s} "
                f"to {result.end_s}"
            )
        if window_index is not None:
            window_index = _whole(window_index)
        if result.model is not self._model:
            self._note_model(result.model)
        self._started().put(PendingResult(result, window_index, extra))

    def put_sample(self, result: Result, window: Array, reason: str) -> None:
        """Take a window itself, for somebody to label; after all events and results it goes home.

        Args:
            result: what the model made of it.
            window: the raw window, as it was given to the model; it is copied.
            reason: why it is kept.

        Raises:
            InputError: it is no array of numbers, or one of the result's times is not finite.
            OutboxError: the delivery is not running.
        """
        if not isfinite(result.start_s + result.end_s):
            raise InputError(f"a sample from {result.start_s} to {result.end_s} has no time")
        self._started().put(PendingSample(result, sent_window(window), reason))

    def event(
        self,
        kind: str,
        fields: Mapping[str, Any] | None = None,
        *,
        key: tuple[str, int] | None = None,
    ) -> None:
        """Report something that happened: drift, an update, a rollback.

        Args:
            kind: what happened, in one word; not `gap`, which is the outbox's own.
            fields: particulars, as JSON.
            key: whose it is and its number there. What has no greater number than one of the same
                kind before, in this process or an earlier one, was told already and is left out.

        Raises:
            InputError: the kind is empty or `gap`.
            OutboxError: the delivery is not running.
        """
        if not kind or kind == "gap":
            raise InputError(
                f"{kind!r} is not a kind of event that can be reported; name what happened"
            )
        told = None if key is None else (f"{kind} {key[0]}", key[1])
        self._started().put(PendingEvent(self._clock.now_s(), kind, dict(fields or {}), told))

    def set_update(self, update: Mapping[str, Any] | None) -> None:
        """What the state topic says of updates, from now on: JSON values."""
        self._update = None if update is None else dict(update)

    def set_health(self, fields: Mapping[str, Any]) -> None:
        """More fields for the health topic, from now on: latencies, drops, temperature.

        What JSON does not have becomes text, or null where it is not finite.
        """
        self._health_fields = dict(fields)

    def health(self) -> DeliveryHealth:
        """How delivery is.

        Raises:
            OutboxError: it was not started.
        """
        outbox, courier, writer = self._outbox, self._courier, self._started()
        if outbox is None or courier is None:
            raise OutboxError("the delivery was not started")
        standing = writer.standing()
        waiting = standing.waiting
        record = courier.record
        return DeliveryHealth(
            outbox=outbox.id,
            put=standing.put,
            pending_rows=standing.pending,
            waiting_rows=waiting.rows,
            waiting_bytes=waiting.bytes,
            missing_rows=waiting.missing,
            oldest_age_s=outbox.oldest_age_s(),
            durability_window_ms=self._settings.commit_interval_ms,
            connected=record.connected,
            mqtt5=record.mqtt5,
            outages=record.outages,
            in_flight=courier.session.in_flight,
            resends=courier.session.resends,
            disk_failures=writer.failures,
            last_error=self._fault or self._ended() or writer.last_error or record.last_error,
        )

    def _ended(self) -> str | None:
        running = self._thread.is_alive() or self._thread.ident is None
        return None if running or self._closing.is_set() else "the delivery's thread has ended"

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until everything that was put is on the medium.

        Returns:
            Whether it came to pass in time.
        """
        return self._started().flush(timeout_s)

    def wait_delivered(self, timeout_s: float) -> bool:
        """Wait until everything that was put is confirmed, by the fleet or by the broker as set.

        Returns:
            Whether it came to pass in time.
        """
        return self._started().wait_empty(timeout_s)

    def close(self, timeout_s: float = 10.0) -> None:
        """Put everything on the medium, say goodbye to the broker and end both threads.

        What was not delivered waits on disk for the next start. Never raises,
        and never takes longer than `timeout_s`.
        """
        if self._writer is None or self._outbox is None:
            return
        deadline_s = self._clock.monotonic_s() + timeout_s
        stored = self._writer.close(timeout_s)
        self._closing.set()
        if self._link is not None:
            self._link.wake()
        left_s = max(deadline_s - self._clock.monotonic_s(), 0.0)
        courier = self._courier
        if courier is not None and not courier.record.connected:
            # An attempt to connect cannot be cut short, and there is nobody to say goodbye to.
            left_s = min(left_s, _ABANDON_S)
        self._thread.join(left_s)
        if not stored or self._writer.pending:
            log.error("%s: %d rows could not be stored", self._outbox.path, self._writer.pending)
        if stored:
            self._outbox.close()

    def _note_model(self, model: ModelRef) -> None:
        """The state names the model that answered first; the others of a device change nothing."""
        if self._model is None or self._model.name == model.name:
            self._model = model
            self._model_changed = True

    def _started(self) -> Writer:
        if self._writer is None:
            raise OutboxError(
                "the delivery was not started; use it as a context manager, or call start()"
            )
        return self._writer

    def _on_commit(self, gaps: Spans) -> None:
        if self._courier is not None:
            self._courier.committed(gaps)

    def _will(self, connection: int) -> Message | None:
        courier = self._courier
        return None if courier is None else courier.state(connection, online=False)

    def _run(self) -> None:
        link, courier = self._link, self._courier
        if link is None or courier is None:
            return
        link.open()
        while not self._closing.is_set():
            self._turn(courier)
        self._say_how_it_ended(courier)
        farewell = courier.state(courier.record.connection, online=False)
        link.close(farewell)

    def _say_how_it_ended(self, courier: Courier) -> None:
        """What is known of a device that is off is what it said last: let that be true."""
        try:
            self._tell_news(courier)
            if courier.record.connected:
                self._send_health(courier)
        except Exception:
            log.exception("the last health could not be sent")

    def _tell_news(self, courier: Courier) -> None:
        if self._model_changed:
            self._model_changed = False
            courier.set_model(self._model)
        courier.set_update(self._update)

    def _turn(self, courier: Courier) -> None:
        try:
            courier.pump(_PUMP_S)
            self._tell_news(courier)
            now_s = self._clock.monotonic_s()
            if courier.record.connected and now_s >= self._health_due_s:
                self._health_due_s = now_s + self._settings.health_interval_s
                self._send_health(courier)
            self._fault = None
        except Exception as exc:
            # This thread must outlive what nobody thought of: nothing is sent without it.
            self._fault = f"the delivery goes on after {type(exc).__name__}: {exc}"
            log.exception("%s", self._fault)
            self._closing.wait(_PUMP_S)

    def _send_health(self, courier: Courier) -> None:
        report = {**self._health_fields, "delivery": asdict(self.health())}
        courier.send_health(encode_health(self._device, self._clock.now_s(), report))


def _whole(window_index: object) -> int:
    """The index as Python's own number; a source may count in NumPy's."""
    number = index(window_index) if isinstance(window_index, SupportsIndex) else None
    if number is None or abs(number) > MAX_SEQ:
        raise InputError(f"window_index is {window_index!r}; it should be a whole number")
    return number
