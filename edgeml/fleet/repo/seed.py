"""Publishes over MQTT, and answers devices that miss something.

Retained chunks first, each confirmed; then the metadata; the timestamp last.
What the broker was given before is not sent again, unless the broker shows that
it forgot: the first thing asked of it is its retained timestamp.
"""

import contextlib
import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from edgeml.clock import Clock, SystemClock
from edgeml.errors import LinkError, ProtocolError
from edgeml.fleet import addresses
from edgeml.fleet.repo.publish import Outgoing, Record, Sent
from edgeml.releases import names
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.line import Down, Line, Message, Published, Received, Up
from edgeml.sync.link import Link

log: Final = logging.getLogger("edgeml.publish")

_WINDOW: Final = 16
_IDLE_S: Final = 1.0
_HEADERS_BYTES: Final = 64
_MOST_WISHES: Final = 10_000
_AGAIN_S: Final = 5.0
"""A file that was sent is retained and reaches whoever asks next; it is not sent again sooner."""


class Seeder:
    """One end of a line to a broker, from which a repository's files go out.

    Args:
        connection: the broker.
        fleet: whose devices they are for.
        clock: the time.
        line: another way to the broker, with the subscriptions of `filters`; for simulations.

    Raises:
        ConfigError: the fleet's name cannot stand in a topic.
    """

    def __init__(
        self,
        connection: Connection,
        fleet: str,
        *,
        clock: Clock | None = None,
        line: Line | None = None,
    ) -> None:
        self._fleet = topics.checked_id(fleet, "fleet")
        self._where = connection.url
        self._clock = SystemClock() if clock is None else clock
        self._link: Line = line or Link(
            connection,
            client_id=f"edgeml-seed-{fleet}-{secrets.token_hex(4)}",
            subscriptions=lambda _: filters(fleet),
            clock=self._clock,
        )
        self._timestamp: bytes | None = None
        self._most_bytes = 0
        self._wishes: dict[str, None] = {}
        self._answered_s: dict[str, float] = {}
        self._pending: dict[int, str] = {}
        self._link.open()

    def publish(
        self,
        outgoing: Outgoing,
        record: Record,
        *,
        anew: bool = False,
        timeout_s: float = 60.0,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Sent:
        """Send what the broker does not have, and wait until it has confirmed it.

        Args:
            outgoing: what there is.
            record: what this broker was given before; kept up to date.
            anew: send everything again.
            timeout_s: gives up when the broker confirms nothing for so long.
            progress: told how many files the broker has.

        Raises:
            LinkError: the broker cannot be reached, refuses, or goes away.
        """
        self._wait_up(timeout_s)
        digests = outgoing.digests
        # The first file goes in any case: by its confirmation the retained timestamp has come.
        first = digests[:1]
        self._send_all(self._files(outgoing, first), timeout_s)
        if anew or self._timestamp is None:
            record.digests.clear()
        fresh = [d for d in digests if d not in record.digests and d not in first]
        sent_bytes, done = 0, len(first)
        for digest in [*first, *fresh]:
            sent_bytes += len(outgoing.file(digest) or b"")
        total = len(first) + len(fresh)
        for at in range(0, len(fresh), _WINDOW * 8):
            part = fresh[at : at + _WINDOW * 8]
            self._send_all(self._files(outgoing, part), timeout_s)
            done += len(part)
            progress(len(digests) - total + done)
            record.digests.update(part)
            record.write()
        record.digests.update(first)
        record.write()
        for name, data in outgoing.metadata():
            self._send_all([(name, data)], timeout_s)
            sent_bytes += len(data)
        return Sent(total + 2, sent_bytes, len(digests) - total)

    def clear(self, outgoing: Outgoing, record: Record, timeout_s: float = 60.0) -> int:
        """Let the broker forget what nothing live names any more; how much there was."""
        self._wait_up(timeout_s)
        gone = sorted(record.digests - set(outgoing.digests))
        self._send_all(((names.file_name(digest), b"") for digest in gone), timeout_s)
        record.digests.difference_update(gone)
        record.write()
        return len(gone)

    def serve(self, outgoing: Callable[[], Outgoing], stop: threading.Event) -> int:
        """Answer wishes until told to stop; how many were answered.

        Args:
            outgoing: what there is, asked anew for each round of wishes.
            stop: ends it, after `wake`.
        """
        answered = 0
        while not stop.is_set():
            self._step(_IDLE_S)
            if not self._wishes or not self._link.online:
                continue
            wishes, self._wishes = list(self._wishes), {}
            now_s, there = self._clock.monotonic_s(), outgoing()
            for digest in wishes:
                if now_s - self._answered_s.get(digest, -_AGAIN_S) < _AGAIN_S:
                    continue
                data = there.file(digest)
                if data is not None:
                    with contextlib.suppress(LinkError):
                        self._send(names.file_name(digest), data)
                        self._answered_s[digest] = now_s
                        answered += 1
        return answered

    def wake(self) -> None:
        """End a wait, so that `serve` sees its stop; from any thread."""
        self._link.wake()

    def close(self) -> None:
        """Say goodbye."""
        self._link.close()

    def _files(self, outgoing: Outgoing, digests: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for digest in digests:
            data = outgoing.file(digest)
            if data is not None:
                yield names.file_name(digest), data

    def _send_all(self, files: Iterable[tuple[str, bytes]], timeout_s: float) -> None:
        """Publish, at most a window unconfirmed, and wait for the last confirmation."""
        for name, data in files:
            self._wait_pending(_WINDOW - 1, timeout_s)
            self._send(name, data)
        self._wait_pending(0, timeout_s)

    def _send(self, name: str, data: bytes) -> None:
        topic = topics.published(self._fleet, name)
        if len(topic) + len(data) + _HEADERS_BYTES > self._most_bytes:
            raise LinkError(
                f"{self._where}: takes packets of at most {self._most_bytes} bytes, and {name} has "
                f"{len(data)}; raise its max_packet_size, or publish by --http or --file"
            )
        self._pending[self._link.publish(Message(topic, data, qos=1, retain=True))] = name

    def _wait_pending(self, most: int, timeout_s: float) -> None:
        deadline_s = self._clock.monotonic_s() + timeout_s
        before = len(self._pending)
        while len(self._pending) > most:
            left_s = deadline_s - self._clock.monotonic_s()
            if left_s <= 0:
                raise LinkError(f"{self._where}: the broker confirmed nothing for {timeout_s:g} s")
            down = self._step(left_s)
            if down is not None:
                raise LinkError(f"{self._where}: {down}; publish again, it goes on where it was")
            if len(self._pending) < before:
                before = len(self._pending)
                deadline_s = self._clock.monotonic_s() + timeout_s

    def _wait_up(self, timeout_s: float) -> None:
        deadline_s = self._clock.monotonic_s() + timeout_s
        reason, told = "no answer", False
        while not self._link.online:
            left_s = deadline_s - self._clock.monotonic_s()
            if left_s <= 0:
                raise LinkError(f"{self._where}: cannot be reached in {timeout_s:g} s ({reason})")
            down = self._step(left_s)
            reason = down or reason
            if down and not told:
                told = True
                log.warning(
                    "%s: not reached yet (%s); trying for %g s", self._where, down, timeout_s
                )

    def _step(self, timeout_s: float) -> str | None:
        """Let the line live; why it went down, if it did."""
        down = None
        for event in self._link.step(timeout_s):
            if isinstance(event, Published):
                name = self._pending.pop(event.token, None)
                if event.refused is not None:
                    raise LinkError(
                        f"{self._where}: refuses {name}: {event.refused}; may this user publish?"
                    )
            elif isinstance(event, Received):
                self._receive(event)
            elif isinstance(event, Down):
                self._pending.clear()
                down = event.reason
            elif isinstance(event, Up):
                self._most_bytes = event.max_packet_bytes
        return down

    def _receive(self, event: Received) -> None:
        if event.topic == topics.published(self._fleet, names.TIMESTAMP):
            self._timestamp = event.payload or None
            return
        if len(self._wishes) >= _MOST_WISHES:
            return  # whoever wished for something real wishes again
        with contextlib.suppress(ProtocolError):
            self._wishes[addresses.parse_want(event.topic)] = None


def filters(fleet: str) -> tuple[str, ...]:
    """What a seeder listens to: wishes, and what the broker remembers of the timestamp."""
    return topics.want(fleet, "+"), topics.published(fleet, names.TIMESTAMP)
