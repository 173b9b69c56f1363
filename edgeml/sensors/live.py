"""A queue between a sensor that will not wait and a model that takes its time.

A thread reads the source; the queue is bounded, and what happens when it is
full is declared and counted. Whoever iterates gets what the source gave, then
the source's end or its error. A queue of samples should hold more than a window,
or an overloaded device never sees a whole one: `queue_capacity` says how many.
"""

import logging
import math
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, TypeVar

from edgeml.errors import ConfigError, nearest
from edgeml.manifest import InputSpec
from edgeml.sensors.sensor import SourceHealth

log: Final = logging.getLogger("edgeml.sensors")

POLICIES: Final = ("drop_oldest", "drop_newest", "block")
CLOSE_TIMEOUT_S: Final = 2.0

_SPARE_WINDOWS: Final = 4
_SPARE_S: Final = 2.0

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class LiveHealth:
    """The queue at one moment.

    Attributes:
        depth: what waits in it.
        most: the most that ever waited in it.
        capacity: what it holds.
        received: what the source gave.
        delivered: what was taken out.
        dropped_oldest: what was thrown away to make room for newer.
        dropped_newest: what was thrown away because there was no room.
        blocked: times that the source had to wait.
        left: what was still in it when it was closed.
        abandoned: the source did not stop when it was closed, and its thread lives on.
        source: the source itself, where it tells.
    """

    depth: int
    most: int
    capacity: int
    received: int
    delivered: int
    dropped_oldest: int
    dropped_newest: int
    blocked: int
    left: int
    abandoned: bool
    source: SourceHealth | None

    @property
    def dropped(self) -> int:
        """What was thrown away, whichever end it was."""
        return self.dropped_oldest + self.dropped_newest


def queue_capacity(inputs: InputSpec) -> int:
    """How many samples a queue for this model holds: four windows, and two seconds at least."""
    rate, each = inputs.sample_rate_hz, 1 if inputs.is_picture else inputs.window
    return max(_SPARE_WINDOWS * each, math.ceil(_SPARE_S * rate) if rate else 0)


class Live(Generic[Item]):
    """A source read by a thread of its own, through a bounded queue.

    Use it in a `with` block or iterate it to its end: both stop the thread.
    It is iterated once, by one thread.

    Args:
        source: what to read; its `stop()`, where it has one, is called at close.
        capacity: how much the queue holds.
        policy: what to do when it is full: `drop_oldest`, `drop_newest`, or
            `block` the source, for recordings, where nothing may be lost.
        changed: notified whenever something arrives or ends; several queues that one
            loop takes from share it. None for one of its own.

    Raises:
        ConfigError: an unknown policy, or a queue that holds nothing.
    """

    live: Final = False
    """It needs no queue: it is one."""

    def __init__(
        self,
        source: Iterable[Item],
        *,
        capacity: int,
        policy: str = "drop_oldest",
        changed: threading.Condition | None = None,
    ) -> None:
        if policy not in POLICIES:
            raise ConfigError(
                f"policy={policy!r} is none of {', '.join(POLICIES)}{nearest(policy, POLICIES)}"
            )
        if capacity < 1:
            raise ConfigError(f"capacity={capacity}: a queue holds one sample at least")
        self._source = source
        self._capacity = capacity
        self._policy = policy
        self._queue: deque[Sequence[Item]] = deque()
        self._depth = 0
        self._changed = threading.Condition() if changed is None else changed
        self._thread: threading.Thread | None = None
        self._closing = self._ended = self._abandoned = False
        self._error: BaseException | None = None
        self._most = self._received = self._delivered = self._left = 0
        self._dropped_oldest = self._dropped_newest = self._blocked = 0

    @property
    def channel_names(self) -> tuple[str, ...] | None:
        """The source's channels, where it names them."""
        names = getattr(self._source, "channel_names", None)
        return tuple(names) if names else None

    @property
    def sample_rate_hz(self) -> float | None:
        """The source's rate, where it tells."""
        found: float | None = getattr(self._source, "sample_rate_hz", None)
        return found

    def __enter__(self) -> "Live[Item]":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Item]:
        """What the source gives, in its order.

        Raises:
            SensorError: and whatever else the source raised, after all that it gave before.
        """
        blocks = self.blocks()
        try:
            for block in blocks:
                yield from block
        finally:
            blocks.close()

    def blocks(self, idle_s: float | None = None) -> Generator[Sequence[Item], None, None]:
        """The same, as many at once as the source gave at once.

        Args:
            idle_s: when nothing came for so long, an empty block is given, for a loop
                that has a watchdog to feed; None waits for as long as it takes.

        Raises:
            SensorError: and whatever else the source raised, after all that it gave before.
        """
        self.start()
        try:
            while (block := self.take(idle_s)) is not None:
                if not block:
                    self.check()
                yield block
            self.raise_error()
        finally:
            self.close()

    def start(self) -> None:
        """Begin to read the source; once."""
        with self._changed:
            if self._thread is not None or self._closing:
                return
            # A source that cannot be interrupted must not keep the process alive.
            self._thread = threading.Thread(target=self._run, name="edgeml-source", daemon=True)
            self._thread.start()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> bool:
        """Stop the source and its thread, within the deadline.

        Returns:
            False where the source did not stop in time; its thread is left to itself.
        """
        with self._changed:
            if not self._closing:
                self._closing = self._ended = True
                self._left, self._depth = self._depth, 0
                self._queue.clear()
            self._changed.notify_all()
        stop = getattr(self._source, "stop", None)
        if callable(stop):
            stop()
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout_s)
        self._abandoned = thread.is_alive()
        if self._abandoned:
            log.warning("the source did not stop within %g s; its thread is left", timeout_s)
        return not self._abandoned

    def health(self) -> LiveHealth:
        """The queue and its source at this moment; from any thread."""
        health = getattr(self._source, "health", None)
        found = health() if callable(health) else None
        with self._changed:
            return LiveHealth(
                depth=self._depth,
                most=self._most,
                capacity=self._capacity,
                received=self._received,
                delivered=self._delivered,
                dropped_oldest=self._dropped_oldest,
                dropped_newest=self._dropped_newest,
                blocked=self._blocked,
                left=self._left,
                abandoned=self._abandoned,
                source=found if isinstance(found, SourceHealth) else None,
            )

    def _run(self) -> None:
        blocks: Iterator[Sequence[Item]] | None = None
        try:
            blocks = _blocks_of(self._source)
            for block in blocks:
                if not self._put(block):
                    break
        except BaseException as exc:  # noqa: BLE001  it is raised again where the source is used
            self._error = exc
        finally:
            close = getattr(blocks, "close", None)
            if callable(close):
                close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def raise_error(self) -> None:
        """Raise what ended the source, if anything did.

        Raises:
            SensorError: and whatever else the source raised.
        """
        if self._error is not None:
            raise self._error

    def check(self) -> None:
        """Let the source see whether it is held up, where it can.

        Raises:
            SensorError: it is.
        """
        check = getattr(self._source, "check", None)
        if callable(check):
            check()

    @property
    def ready(self) -> bool:
        """Whether `take` would not wait: something is there, or the source has ended."""
        return bool(self._queue) or self._ended

    def take(self, idle_s: float | None) -> Sequence[Item] | None:
        """The next block, an empty one when none came in time; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._ended, idle_s)
            if not self._queue:
                return None if self._ended else ()
            block = self._queue.popleft()
            self._depth -= len(block)
            self._delivered += len(block)
            if self._policy == "block":
                self._changed.notify_all()
            return block

    def _put(self, block: Sequence[Item]) -> bool:
        """Queue it as the policy says; False when nobody wants any more."""
        with self._changed:
            if self._closing:
                return False
            self._received += len(block)
            if self._depth + len(block) > self._capacity:
                if self._policy == "block":
                    if not self._wait_for_room(len(block)):
                        return False
                elif self._policy == "drop_oldest":
                    block = self._drop_oldest(block)
                else:
                    block = self._drop_newest(block)
            if block:
                self._queue.append(block)
                self._depth += len(block)
                self._most = max(self._most, self._depth)
                self._changed.notify_all()
            return True

    def _drop_oldest(self, block: Sequence[Item]) -> Sequence[Item]:
        """Make room for the block, whole blocks at a time; what of it finds room."""
        while self._queue and self._depth + len(block) > self._capacity:
            oldest = self._queue.popleft()
            self._depth -= len(oldest)
            self._dropped_oldest += len(oldest)
        over = max(len(block) - self._capacity, 0)
        self._dropped_oldest += over
        return block[over:] if over else block

    def _drop_newest(self, block: Sequence[Item]) -> Sequence[Item]:
        """What of the block finds room."""
        room = self._capacity - self._depth
        self._dropped_newest += len(block) - room
        return block[:room]

    def _wait_for_room(self, count: int) -> bool:
        """Wait until the block fits, or the queue is empty where it never would."""
        self._blocked += 1
        while self._queue and self._depth + count > self._capacity and not self._closing:
            self._changed.wait()
        return not self._closing


def _blocks_of(source: Iterable[Item]) -> Iterator[Sequence[Item]]:
    """The source's own blocks where it has them, else one item at a time."""
    blocks = getattr(source, "blocks", None)
    if callable(blocks):
        found: Iterator[Sequence[Item]] = iter(blocks())
        return found
    return _one_by_one(source)


def _one_by_one(source: Iterable[Item]) -> Generator[Sequence[Item], None, None]:
    items = iter(source)
    try:
        for item in items:
            yield (item,)
    finally:
        close = getattr(items, "close", None)
        if callable(close):
            close()
