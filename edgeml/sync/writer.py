"""Between the inference thread and the disk: takes rows at once, stores them in groups.

`put` appends to a deque and returns; it holds no lock while the disk works and
never waits for it. One thread gathers what came within the commit interval,
encodes it, and commits it together with the acknowledgements that arrived
meanwhile, so that a card is synced a few times a second and not once a result.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edgeml.clock import Clock
from edgeml.errors import OutboxError
from edgeml.sync.entries import Entry, Kind, Waiting
from edgeml.sync.outbox import Outbox
from edgeml.sync.outboxfile import BrokenOutboxError, FullOutboxError
from edgeml.sync.pending import Pace, Pending, PendingEvent, PendingSample, pack
from edgeml.sync.rows import gap_row
from edgeml.sync.spans import Spans

log: Final = logging.getLogger("edgeml.outbox")

_ROWS_AT_ONCE: Final = 4096
_RETRY_S: Final = 1.0
_LET_GO_DELAY_S: Final = 0.5
_EVICTED_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Standing:
    """Where everything that was put is, at one moment: every row is counted once.

    Attributes:
        put: rows taken since the start.
        pending: in memory, not on disk yet.
        waiting: on disk, not confirmed yet.
    """

    put: int
    pending: int
    waiting: Waiting


class Writer:
    """The thread that owns the outbox's writing side.

    Args:
        outbox: where rows go.
        pace: how they are gathered.
        clock: stamps events and gaps.
        on_commit: called in the writer's thread after each commit, with the numbers that gaps now
            cover.
    """

    def __init__(
        self, outbox: Outbox, pace: Pace, clock: Clock, on_commit: Callable[[Spans], None]
    ) -> None:
        self._outbox = outbox
        self._pace = pace
        self._clock = clock
        self._on_commit = on_commit
        self._pending: deque[Pending] = deque()
        self._overflowed = 0
        self._samples = 0
        self._accepted = 0
        self._waiting = outbox.waiting
        self._told = dict(outbox.told)
        # Held for moments only, never while the disk works: a row moves from memory to disk in it.
        self._counting = threading.Lock()
        self._acked = Spans()
        self._mark: int | None = None
        self._orders: deque[Callable[[], Spans]] = deque()
        self._acks_lock = threading.Lock()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._idle = threading.Condition()
        self._busy = False
        self._closing = False
        self._eager = False
        self.failures = 0
        self.last_error: str | None = None
        self._thread = threading.Thread(target=self._run, name="edgeml-outbox", daemon=True)

    def start(self) -> None:
        """Begin to store."""
        self._thread.start()

    @property
    def pending(self) -> int:
        """Rows in memory that have not reached the disk."""
        return len(self._pending) + self._overflowed

    def standing(self) -> Standing:
        """The counts of one moment."""
        with self._counting:
            return Standing(self._accepted, self.pending, self._waiting)

    def put(self, row: Pending) -> None:
        """Take a row, at once; where memory is full, count it as lost instead.

        Raises:
            OutboxError: the writer was closed.
        """
        if self._closing:
            raise OutboxError(f"{self._outbox.path}: the delivery was closed; nothing can be added")
        with self._counting:
            key = row.key if isinstance(row, PendingEvent) else None
            if key is not None and key[1] <= self._told.get(key[0], 0):
                return
            self._accepted += 1
            waiting = len(self._pending)
            sample = isinstance(row, PendingSample)
            crowded = sample and self._samples >= self._pace.memory_samples
            if crowded or waiting >= self._pace.memory_rows:
                self._overflowed += 1
                return
            self._samples += sample
            self._pending.append(row)
            if key is not None:
                self._told[key[0]] = key[1]
        if not self._wake.is_set():
            self._wake.set()
        # What the disk has just refused it refuses once more: that waits for its time.
        if waiting + 1 >= self._pace.rows and not (self.last_error or self._hurry.is_set()):
            self._hurry.set()

    def let_go(self, acked: Spans, mark: int | None) -> None:
        """Remember what need not be kept; it leaves the disk with one of the next commits.

        Args:
            acked: numbers that somebody else has.
            mark: the store's mark; None where a broker answered.
        """
        with self._acks_lock:
            first = not self._acked and self._mark is None
            self._acked = self._acked.union(acked)
            self._mark = mark if mark is not None else self._mark
        if first:
            self._wake.set()

    def order(self, work: Callable[[], Spans]) -> None:
        """Have something done in the writer's thread; it returns what gaps now cover."""
        self._orders.append(work)
        self._wake.set()
        self._hurry.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything that was put is on the medium and what was acknowledged is gone.

        Returns:
            Whether it came to pass in time.
        """
        with self._idle:
            self._hurry.set()
            self._wake.set()
            return self._idle.wait_for(self._is_idle, timeout_s)

    def wait_empty(self, timeout_s: float) -> bool:
        """Wait until every row that was put has left the outbox, or is known as a gap.

        Returns:
            Whether it came to pass in time.
        """
        self._eager = True
        self._wake.set()
        self._hurry.set()
        try:
            with self._idle:
                return self._idle.wait_for(self._is_empty, timeout_s)
        finally:
            self._eager = False

    def close(self, timeout_s: float) -> bool:
        """Take no more, store what there is, and end the thread.

        Returns:
            Whether it ended in time.
        """
        self._closing = True
        self._wake.set()
        self._hurry.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _is_empty(self) -> bool:
        waiting = self._outbox.waiting
        return self._is_idle() and not waiting.rows and not waiting.gaps

    def _is_idle(self) -> bool:
        return not (
            self._pending
            or self._overflowed
            or self._busy
            or self._orders
            or self._acked
            or self._mark is not None
        )

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            self._gather()
            self._hurry.clear()
            self._busy = True
            stored = self.store_now()
            self._busy = False
            with self._idle:
                self._idle.notify_all()
            if self._closing and (self._is_idle() or not stored):
                return
            if not stored:
                self._hurry.wait(_RETRY_S)
            if not self._is_idle():
                self._wake.set()

    def _gather(self) -> None:
        if self._closing or self._hurry.is_set() or len(self._pending) >= self._pace.rows:
            return
        if not self._eager and not self._pending and not self._orders:
            # Only acknowledgements: they can wait for the next rows, and a lost one costs a
            # duplicate.
            self._wake.wait(_LET_GO_DELAY_S)
            self._wake.clear()
        if self._pending:
            self._hurry.wait(self._pace.interval_s)

    def store_now(self) -> bool:
        """Store what there is, in the calling thread: the writer's own, or a simulation's.

        Returns:
            Whether it could be stored; what could not is tried again.
        """
        try:
            self._work()
        except BrokenOutboxError as exc:
            self._failed(exc)
            return self._start_over()
        except FullOutboxError as exc:
            self._failed(exc)
            self._make_room()
            return False
        except OutboxError as exc:
            self._failed(exc)
            return False
        except Exception as exc:
            # This thread must outlive what nobody thought of: without it nothing is stored again.
            log.exception("the outbox's thread goes on after an error that it does not know")
            self._failed(OutboxError(f"{self._outbox.path}: {type(exc).__name__}: {exc}"))
            return False
        self.last_error = None
        return True

    def _work(self) -> None:
        gaps = Spans()
        if self._orders and (self._acked or self._mark is not None):
            # An order may number the rows anew; these confirmations speak of the old numbers.
            acked, mark = self._take_acks()
            self._outbox.commit([], acked, mark)
            self._forget_acks(acked, mark)
        while self._orders:
            gaps = gaps.union(self._orders[0]())
            self._orders.popleft()
        rows = [self._pending[i] for i in range(min(len(self._pending), _ROWS_AT_ONCE))]
        overflowed = 0 if len(rows) < len(self._pending) else self._overflowed
        acked, mark = self._take_acks()
        if rows or overflowed or acked or mark is not None:
            entries = pack(rows, self._outbox.next_seq, self._pace, self._clock.now_s())
            if overflowed:
                next_seq = entries[-1].last + 1 if entries else self._outbox.next_seq
                entries.append(self._overflow(next_seq, overflowed))
            told = dict(row.key for row in rows if isinstance(row, PendingEvent) and row.key)
            gaps = gaps.union(self._outbox.commit(entries, acked, mark, told))
            self._settle(len(rows), overflowed)
            self._forget_acks(acked, mark)
        self._settle(0, 0)
        self._on_commit(gaps)

    def _take_acks(self) -> tuple[Spans, int | None]:
        with self._acks_lock:
            return self._acked, self._mark

    def _forget_acks(self, acked: Spans, mark: int | None) -> None:
        with self._acks_lock:
            self._acked = self._acked.minus(acked)
            self._mark = None if self._mark == mark else self._mark

    def _settle(self, rows: int, overflowed: int) -> None:
        with self._counting:
            for _ in range(rows):
                self._samples -= isinstance(self._pending.popleft(), PendingSample)
            self._overflowed -= overflowed
            self._waiting = self._outbox.waiting

    def _overflow(self, seq: int, count: int) -> Entry:
        last = seq + count - 1
        return Entry(
            seq, last, Kind.GAP, None, gap_row(seq, last, self._clock.now_s(), "memory full")
        )

    def _failed(self, exc: OutboxError) -> None:
        self.failures += 1
        if self.last_error != str(exc):
            log.error("%s", exc)
        self.last_error = str(exc)

    def _make_room(self) -> None:
        """Let new results push old ones out of a full disk, when memory runs short, too."""
        if len(self._pending) + self._overflowed < self._pace.memory_rows // 2:
            return
        try:
            gaps = self._outbox.evict(_EVICTED_SHARE)
            self._settle(0, 0)
            self._on_commit(gaps)
        except OutboxError as exc:
            log.info("%s", exc)  # the disk is full to the last page: wait for somebody to clear it

    def _start_over(self) -> bool:
        try:
            aside = self._outbox.start_over()
        except OutboxError as exc:
            self._failed(exc)
            return False
        with self._acks_lock:
            self._acked, self._mark = Spans(), None
        self._orders.clear()
        fields = {"set_aside": aside.name}
        with self._counting:
            self._pending.appendleft(PendingEvent(self._clock.now_s(), "outbox_damaged", fields))
            self._accepted += 1
            self._waiting = self._outbox.waiting
        return True
