"""Outbox, session, courier, ingest and store as they are, against anything that a network can do.

A simulation decides what happens next: messages are dropped, doubled, swapped;
processes, the broker and the lines die; the clock jumps; the store goes back
to its backup. Whatever it was, in the end every row that was ever on disk is
in the store once, or a gap record owns up to it.

EDGEML_MACHINE_EXAMPLES sets how many histories are tried (40).
"""

import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edgeml.clock import ManualClock
from edgeml.fleet.ingest import Ingest, Limits, filters
from edgeml.fleet.sqlite_store import SQLiteStore
from edgeml.npy import read_npy
from edgeml.result import ModelRef, Result
from edgeml.sync import messages, topics
from edgeml.sync.connection import Connection
from edgeml.sync.courier import Courier
from edgeml.sync.entries import Caps, Kind
from edgeml.sync.outbox import Outbox
from edgeml.sync.pending import Pace, PendingEvent, PendingResult, PendingSample
from edgeml.sync.settings import Mqtt
from edgeml.sync.spans import Spans
from edgeml.sync.writer import Writer
from tests.memoryline import MemoryBroker, MemoryLine

MODELS = (ModelRef("one", 1, "11"), ModelRef("two", 2, "22"))
SETTINGS = Mqtt("mqtt://nowhere", fleet="sim", batch_rows=8, inflight_batches=3)
PACE = Pace(
    interval_s=0.0, rows=10, row_bytes=4000, entry_bytes=600,
    memory_rows=10_000, memory_samples=10_000,
)  # fmt: skip
ACK_TOPIC = topics.device_topic("sim", "dev", topics.ACK)
ROUNDS = 400
RANGES = 2
"""An acknowledgement names so few ranges here, so that small histories reach the limit."""
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


class Delivering(RuleBasedStateMachine):
    """One device, one broker, one ingest, and whatever happens to them."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="edgeml-machine-", dir=MEMORY))
        self.clock = ManualClock()
        self.broker = MemoryBroker()
        self.durable: dict[int, tuple[str, int]] = {}
        self.ever: set[int] = set()
        self.damaged = False
        self.next_number = 0
        self.restored = False
        self.old_card = False
        self.strangers: set[int] = set()
        self.named = mock.patch.object(messages, "MAX_RANGES", RANGES)
        self.named.start()

    @initialize(small=st.booleans())
    def begin(self, small: bool) -> None:
        few = Caps(3_000, 1 << 20, samples_bytes=1_500)
        self.caps = few if small else Caps(1 << 24, 1 << 20)
        self.small = small
        self.start_device()
        self.start_ingest()
        self.backup = self.home / "backup.db"
        self.back_up()
        self.copy = self.home / "copy.db"
        self.back_up_device()

    def start_device(self) -> None:
        self.outbox = Outbox(self.home / "outbox.db", self.caps, self.clock)
        self.outbox.rotate = self.rotate  # type: ignore[method-assign]
        # A simulation kills processes, not the power: nothing here needs to reach the medium.
        self.outbox._db.execute("PRAGMA synchronous=OFF")
        self.writer = Writer(self.outbox, PACE, self.clock, self.tell_courier)
        self.device_line = MemoryLine(
            self.broker, (ACK_TOPIC,), lambda n: self.courier.state(n, online=False)
        )
        self.courier = Courier(
            "dev", SETTINGS, self.outbox, self.writer, self.device_line, self.clock
        )
        self.device_line.open()
        self.pending: list[int | None] = []

    def rotate(self) -> None:
        """Rotate, and note which number each durable result has from then on."""
        assert self.old_card, "the outbox changes its name, and nobody put an old card in"
        old_id, held = self.outbox.id, self.held()
        Outbox.rotate(self.outbox)
        moved, next_seq = {}, 1
        for first, last in held:
            moved.update({seq: next_seq + seq - first for seq in range(first, last + 1)})
            next_seq += last - first + 1
        for number, (outbox, seq) in self.durable.items():
            if outbox == old_id and seq in moved:
                self.durable[number] = (self.outbox.id, moved[seq])
            elif outbox == old_id:
                self.strangers.add(number)

    def held(self) -> list[tuple[int, int]]:
        query = "SELECT seq, last FROM entries ORDER BY seq"
        return self.outbox._db.execute(query).fetchall()

    def tell_courier(self, gaps: Spans) -> None:
        self.courier.committed(gaps)

    def start_ingest(self) -> None:
        self.store = SQLiteStore(self.home / "store.db")
        self.store._db.execute("PRAGMA synchronous=OFF")
        self.ingest_line = MemoryLine(self.broker, filters("sim", shares=True))
        self.ingest = Ingest(
            Connection("mqtt://nowhere"), "sim", self.store,
            limits=Limits(interval_s=0.0), clock=self.clock, line=self.ingest_line,
        )  # fmt: skip
        self.ingest_line.open()

    @rule(count=st.integers(1, 12), model=st.sampled_from(MODELS))
    def produce(self, count: int, model: ModelRef) -> None:
        for n in range(self.next_number, self.next_number + count):
            result = Result(model, n, n + 1.0, f"l{n}", n / 7, (float(n),), 1.0, 1.0, 1.0)
            self.writer.put(PendingResult(result, n, None))
            self.pending.append(n)
        self.next_number += count

    @rule(count=st.integers(1, 3), model=st.sampled_from(MODELS))
    def keep_window(self, count: int, model: ModelRef) -> None:
        for n in range(self.next_number, self.next_number + count):
            result = Result(model, n, n + 1.0, f"l{n}", n / 7, (float(n),), 1.0, 1.0, 1.0)
            self.writer.put(PendingSample(result, np.full((3, 2), n, np.int32), "one in 1"))
            self.pending.append(n)
        self.next_number += count

    @rule()
    def report(self) -> None:
        self.writer.put(PendingEvent(self.clock.now_s(), "drift", {"x": 1}))
        self.pending.append(None)

    @rule()
    def commit(self) -> None:
        assert self.writer.store_now()
        first = self.outbox.next_seq - len(self.pending)
        for seq, number in enumerate(self.pending, first):
            if number is not None:
                self.durable[number] = (self.outbox.id, seq)
                self.ever.add(number)
        self.pending.clear()

    @rule(
        data=st.data(), change=st.sampled_from(((b'"label"', b'"lab"'), (b'"seq":', b'"s\x00q:')))
    )
    def damage_row(self, data: st.DataObject, change: tuple[bytes, bytes]) -> None:
        query = "SELECT seq, body FROM entries WHERE kind = ?"
        kind = data.draw(st.sampled_from((Kind.RESULT, Kind.SAMPLE)))
        entries = self.outbox._db.execute(query, (int(kind),)).fetchall()
        if entries:
            seq, body = data.draw(st.sampled_from(entries))
            at = data.draw(st.integers(0, body.count(change[0]) - 1)) if change[0] in body else 0
            parts = body.split(change[0])
            joined = change[0].join(parts[: at + 1]) + change[1] + change[0].join(parts[at + 1 :])
            if len(parts) > 1:
                self.outbox._db.execute("UPDATE entries SET body = ? WHERE seq = ?", (joined, seq))
                self.damaged = True

    @rule()
    def pump_device(self) -> None:
        self.courier.pump(0.0)

    @rule()
    def pump_ingest(self) -> None:
        self.ingest.step(0.0)

    @precondition(lambda self: self.broker.waiting)
    @rule(data=st.data(), keep=st.booleans())
    def route(self, data: st.DataObject, keep: bool) -> None:
        self.broker.route(data.draw(st.integers(0, len(self.broker.waiting) - 1)), keep=keep)

    @precondition(lambda self: self.broker.waiting)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        self.broker.drop(data.draw(st.integers(0, len(self.broker.waiting) - 1)))

    @rule()
    def tear_device(self) -> None:
        self.device_line.cut("torn")

    @rule()
    def tear_ingest(self) -> None:
        self.ingest_line.cut("torn")

    @rule()
    def kill_broker(self) -> None:
        self.broker.kill()

    @rule()
    def start_broker(self) -> None:
        self.broker.running = True

    @rule()
    def kill_device(self) -> None:
        self.device_line.vanish()
        self.outbox.close()
        self.start_device()

    @rule()
    def kill_ingest(self) -> None:
        self.ingest_line.vanish()
        self.store.close()
        self.start_ingest()

    @rule(seconds=st.sampled_from((0.1, 3.0, 11.0, 400.0)))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from((-86_400.0, 86_400.0)))
    def set_clock(self, seconds: float) -> None:
        self.clock.step_wall(seconds)

    @rule()
    def back_up(self) -> None:
        self.store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copyfile(self.home / "store.db", self.backup)

    @rule()
    def restore(self) -> None:
        self.ingest_line.vanish()
        self.store.close()
        for tail in ("", "-wal", "-shm"):
            (self.home / f"store.db{tail}").unlink(missing_ok=True)
        shutil.copyfile(self.backup, self.home / "store.db")
        self.restored = True
        self.start_ingest()
        # What this card never knew of, and now the store does not either, nobody can name.
        gone = self.strangers - {row["window"] for row in self.store.results()}
        self.durable = {n: where for n, where in self.durable.items() if n not in gone}

    @rule()
    def back_up_device(self) -> None:
        self.outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copyfile(self.home / "outbox.db", self.copy)
        held = Spans.of(self.held())
        self.on_copy = {n: where for n, where in self.durable.items() if where[1] in held}

    @rule()
    def restore_device(self) -> None:
        """Somebody puts an old card in; nothing of the new one is on its way any more."""
        self.device_line.vanish()
        self.outbox.close()
        while self.broker.waiting:
            self.broker.route(0)
        self.ingest.step(0.0)
        self.broker.waiting.clear()
        for tail in ("", "-wal", "-shm"):
            (self.home / f"outbox.db{tail}").unlink(missing_ok=True)
        shutil.copyfile(self.copy, self.home / "outbox.db")
        self.old_card = True
        stored = self.stored()
        # What was only on the other card is gone, and nobody can know of it.
        self.durable = {n: where for n, where in self.durable.items() if n in stored}
        self.durable.update(self.on_copy)
        self.start_device()
        outbox, next_seq = self.outbox.id, self.outbox.next_seq
        mine = {n for n, (own, seq) in self.durable.items() if own == outbox and seq < next_seq}
        self.strangers = self.durable.keys() - mine - self.on_copy.keys()

    @invariant()
    def nothing_is_there_twice_or_changed(self) -> None:
        if not hasattr(self, "store"):
            return
        numbers = []
        for row in self.store.results():
            number = row["window"]
            numbers.append(number)
            assert number in self.ever
            assert (row["label"], row["score"]) == (f"l{number}", number / 7)
        assert len(numbers) == len(set(numbers))
        assert numbers == sorted(numbers)
        windows = []
        for row in self.store.samples():
            number = int(row["start_s"])
            windows.append(number)
            assert number in self.ever
            assert (read_npy(row["npy"]) == np.full((3, 2), number, np.int32)).all()
        assert len(windows) == len(set(windows))
        assert not set(windows) & set(numbers)

    def stored(self) -> set[int]:
        results = {row["window"] for row in self.store.results()}
        return results | {int(row["start_s"]) for row in self.store.samples()}

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            self.named.stop()

    def end(self) -> None:
        if hasattr(self, "store"):
            self.heal()
            self.check()
            self.outbox.close()
            self.store.close()
        shutil.rmtree(self.home)

    def heal(self) -> None:
        """Nothing bad happens any more: how long may it take until all is there?"""
        self.broker.running = True
        for _ in range(ROUNDS):
            self.commit()
            self.courier.pump(0.0)
            while self.broker.waiting:
                self.broker.route(0)
            self.ingest.step(0.0)
            while self.broker.waiting:
                self.broker.route(0)
            self.courier.pump(0.0)
            self.clock.advance(1.0)
            if self.is_quiet():
                return
        raise AssertionError(f"not delivered after {ROUNDS} quiet rounds: {self.outbox.waiting}")

    def is_quiet(self) -> bool:
        """Whether nothing is left to be done, by anybody."""
        waiting = self.outbox.waiting
        left = (
            waiting.rows,
            waiting.gaps,
            self.broker.waiting,
            self.courier.session._marks.audit_s,
        )
        return self.writer._is_idle() and not any(left)

    def check(self) -> None:
        stored = self.stored()
        lost: dict[str, Spans] = {}
        for gap in self.store.gaps():
            before = lost.get(gap["outbox"], Spans())
            lost[gap["outbox"]] = before.plus(gap["first"], gap["last"])
        missing = {where for number, where in self.durable.items() if number not in stored}
        if not self.small and not self.restored and not self.damaged:
            assert not missing
            assert not lost
        assert all(seq in lost.get(outbox, Spans()) for outbox, seq in missing)
        progress = self.store.progress("dev", self.outbox.id)
        assert not progress.above
        assert progress.mark == self.outbox.next_seq - 1
        assert self.damaged or self.store.letters() == []


Delivering.TestCase.settings = settings(
    max_examples=int(os.environ.get("EDGEML_MACHINE_EXAMPLES", "40")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestDelivering = Delivering.TestCase
