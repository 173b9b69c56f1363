"""What goes onto the line, and what becomes of it, with the real outbox and a broker in memory."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeml.clock import ManualClock
from edgeml.fleet.answers import encode_answer
from edgeml.fleet.batches import Batch, parse_events, parse_results
from edgeml.fleet.selfreports import parse_state
from edgeml.result import ModelRef, Result
from edgeml.sync import topics
from edgeml.sync.courier import Courier
from edgeml.sync.entries import Caps
from edgeml.sync.messages import Ack, Refusal, digest_of
from edgeml.sync.outbox import Outbox
from edgeml.sync.pending import Pace, PendingEvent, PendingResult
from edgeml.sync.settings import Mqtt
from edgeml.sync.spans import Spans
from edgeml.sync.writer import Writer
from tests.memoryline import MemoryBroker, MemoryLine

MODEL = ModelRef("m", 1, "00")
PACE = Pace(interval_s=0.0, rows=100, row_bytes=20_000, entry_bytes=8_000, memory_rows=10_000)
BULK = (topics.RESULTS, topics.EVENTS)
MIDNIGHT_S = 1_700_006_400.0
ACK = topics.device_topic("default", "dev", topics.ACK)


class Device:
    """A device's delivery on a clock and a broker that the test holds."""

    def __init__(
        self,
        home: Path,
        *,
        packet_bytes: int = 64 * 1024,
        receive_maximum: int = 8,
        **options: Any,
    ) -> None:
        self.clock = ManualClock(now_s=MIDNIGHT_S)
        self.broker = MemoryBroker()
        self.outbox = Outbox(home / "outbox.db", Caps(1 << 24, 1 << 20), self.clock)
        self.writer = Writer(self.outbox, PACE, self.clock, self._committed)
        self.line = MemoryLine(
            self.broker, (ACK,), packet_bytes=packet_bytes, receive_maximum=receive_maximum
        )
        settings = Mqtt("mqtt://nowhere", **options)
        self.courier = Courier("dev", settings, self.outbox, self.writer, self.line, self.clock)
        self.line.open()
        somebody = MemoryLine(self.broker, tuple(f"edgeml/1/+/d/+/{name}" for name in BULK))
        somebody.open()
        somebody.step(0.0)

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *_: object) -> None:
        self.outbox.close()

    def _committed(self, gaps: Spans) -> None:
        self.courier.committed(gaps)

    def put(self, *labels: str) -> None:
        for n, label in enumerate(labels):
            result = Result(MODEL, n, n + 1.0, label, 0.5, (0.5,), 1.0, 1.0, 1.0)
            self.writer.put(PendingResult(result, n, None))
        assert self.writer.store_now()

    def report(self) -> None:
        self.writer.put(PendingEvent(0.0, "drift", {}))
        assert self.writer.store_now()

    def pump(self, times: int = 3) -> None:
        for _ in range(times):
            self.courier.pump(0.0)
            self.writer.store_now()

    def acknowledge(self, mark: int, outbox: str | None = None) -> None:
        ack = Ack(outbox or self.outbox.id, mark, Spans(), "i.1")
        self.line.deliver(ACK, encode_answer(ack), retained=False, qos=0)
        self.pump()

    def refuse(self, payload: bytes) -> None:
        refusal = Refusal(digest_of(payload), "no", "i.1")
        self.line.deliver(ACK, encode_answer(refusal), retained=False, qos=0)
        self.pump()

    def sent(self, channel: str) -> list[bytes]:
        topic = topics.device_topic("default", "dev", channel)
        return [message.payload for message in self.broker.waiting if message.topic == topic]

    def labels(self) -> list[str | None]:
        return [
            row.label for payload in self.sent("results") for row in parse_results(payload).results
        ]


class Store:
    """What an ingest would know, and its word on it."""

    def __init__(self) -> None:
        self.labels: list[str | None] = []
        self.spans: dict[str, Spans] = {}

    def serve(self, device: Device) -> None:
        for _ in range(6):
            device.pump()
            for payload in device.sent("results"):
                self.take(parse_results(payload))
            device.broker.waiting.clear()
            spans = self.spans.get(device.outbox.id, Spans())
            mark = spans.reach()
            ack = Ack(device.outbox.id, mark, spans.above(mark), "i.1")
            device.line.deliver(ACK, encode_answer(ack), retained=False, qos=0)

    def take(self, batch: Batch) -> None:
        known = self.spans.get(batch.outbox, Spans())
        self.labels += [row.label for row in batch.results if row.seq not in known]
        self.spans[batch.outbox] = known.union(batch.spans)


MakeDevice = Callable[..., Device]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeDevice]:
    made: list[Device] = []

    def make_device(**options: Any) -> Device:
        made.append(Device(tmp_path, **options))
        return made[-1]

    yield make_device
    for device in made:
        device.outbox.close()


def test_a_birth_comes_before_the_first_result(make: MakeDevice) -> None:
    device = make()
    device.put("a")
    device.pump()
    assert [m.topic.rsplit("/", 1)[1] for m in device.broker.waiting] == ["state", "results"]
    birth = parse_state(device.sent("state")[0])
    assert (birth.online, birth.outbox, birth.epoch) == (True, device.outbox.id, (1, 1))


def test_a_message_is_cut_at_the_limit_of_rows(make: MakeDevice) -> None:
    device = make(batch_rows=40)
    for _ in range(10):
        device.put(*"abcdefghij")
    device.pump()
    assert [len(parse_results(p).results) for p in device.sent("results")] == [40, 40, 20]


def test_a_broker_of_small_packets_gets_small_packets_and_learns_what_cannot_pass(
    make: MakeDevice,
) -> None:
    device = make(packet_bytes=1_500)
    device.put("a", "b", "x" * 3_000, "d")
    device.pump(6)
    assert all(len(payload) <= 1_500 for payload in device.sent("results"))
    assert device.labels() == ["a", "b", "d"]
    gaps = [row for payload in device.sent("events") for row in parse_events(payload).events]
    assert [(row.seq, row.last, row.fields["reason"]) for row in gaps] == [
        (3, 3, "row too large for the broker")
    ]


def test_a_broker_whose_packets_hold_no_row_gets_none_and_nothing_is_given_up(
    make: MakeDevice,
) -> None:
    device = make(packet_bytes=256)
    device.put("a", "b")
    device.pump(6)
    assert device.sent("results") == device.sent("events") == []
    assert device.outbox.waiting.rows == 2
    assert "packets of 256 bytes" in str(device.courier.record.last_error)


def test_an_old_copy_of_an_outbox_goes_on_under_a_new_name(make: MakeDevice) -> None:
    device = make()
    device.put("a", "b")
    device.pump()
    old_id = device.outbox.id
    device.acknowledge(0)
    device.broker.waiting.clear()
    device.acknowledge(500)
    assert device.outbox.id != old_id
    batch = parse_results(device.sent("results")[-1])
    assert (batch.outbox, [row.seq for row in batch.results]) == (device.outbox.id, [1, 2])
    assert parse_state(device.sent("state")[-1]).outbox == device.outbox.id


def test_a_spent_allowance_waits_for_its_refill(make: MakeDevice) -> None:
    device = make(max_bytes_per_s=100.0, batch_rows=1, latest=True)
    device.put("a")
    device.put("b")
    device.pump()
    assert device.labels() == ["a"]
    spent = sum(len(device.sent(channel)[0]) for channel in ("results", "latest"))
    device.clock.advance(spent / 100 - 1.1)  # a second's worth was there to begin with
    device.pump()
    assert device.labels() == ["a"]
    device.clock.advance(0.2)
    device.pump()
    assert device.labels() == ["a", "b"]


def test_at_night_events_go_and_results_wait_for_the_morning(make: MakeDevice) -> None:
    device = make(quiet_hours="23:00-01:00", ack="broker")
    device.put("a")
    device.report()
    device.pump()
    assert device.labels() == []
    assert len(device.sent("events")) == 1
    device.report()
    device.pump()
    assert len(device.sent("events")) == 2
    device.clock.advance(3_700.0)
    device.pump()
    assert device.labels() == ["a"]


def test_compressed_messages_say_the_same(make: MakeDevice) -> None:
    device = make(compress=True)
    device.put(*["walking"] * 50)
    device.pump()
    assert device.sent("results")[0][:1] == b"x"
    assert device.labels() == ["walking"] * 50


def test_the_latest_value_is_flat_and_retained(make: MakeDevice) -> None:
    device = make(latest=True)
    device.put("a", "b")
    device.pump()
    topic = topics.device_topic("default", "dev", topics.LATEST)
    assert json.loads(device.broker.retained[topic])["label"] == "b"


@pytest.mark.parametrize("payload", [b"", b"{", b'{"v":1}', b'{"v":2,"outbox":"x","seq":1}'])
def test_an_acknowledgement_that_cannot_be_read_changes_nothing(
    make: MakeDevice, payload: bytes
) -> None:
    device = make()
    device.put("a")
    device.pump()
    device.line.deliver(ACK, payload, retained=False, qos=0)
    device.pump()
    assert device.outbox.waiting.rows == 1


def test_a_confirmed_result_leaves_the_disk(make: MakeDevice) -> None:
    device = make()
    device.put("a", "b")
    device.pump()
    device.acknowledge(2, outbox="somebody else's")
    assert device.outbox.waiting.rows == 2
    device.acknowledge(2)
    assert device.outbox.waiting.rows == 0


def test_an_old_copy_that_went_on_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    store, copy = Store(), tmp_path / "copy"
    with Device(tmp_path) as first:
        first.put(*"abcde")
        store.serve(first)
        first.put("f")  # not delivered yet when the copy is made
    shutil.copyfile(tmp_path / "outbox.db", copy)
    with Device(tmp_path) as lost:
        lost.put("g", "h", "i")
        store.serve(lost)
    shutil.copyfile(copy, tmp_path / "outbox.db")
    for labels in ("jkl", "mnopqr"):
        with Device(tmp_path) as restored:
            restored.broker.running = False
            restored.put(*labels)
    with Device(tmp_path) as restored:
        store.serve(restored)
        assert restored.outbox.waiting.rows == 0
    assert "".join(sorted(str(label) for label in store.labels)) == "abcdefghijklmnopqr"


def test_a_second_acknowledgement_does_not_rename_twice(make: MakeDevice) -> None:
    device = make()
    device.put("a", "b")
    device.pump()
    old_id = device.outbox.id
    device.acknowledge(0)
    ack = encode_answer(Ack(old_id, 500, Spans(), "i.1"))
    device.line.deliver(ACK, ack, retained=True, qos=0)
    device.courier.pump(0.0)
    device.line.deliver(ACK, ack, retained=False, qos=0)
    assert device.writer.store_now()
    new_id = device.outbox.id
    device.broker.waiting.clear()
    device.pump()
    assert old_id != new_id == device.outbox.id
    assert {parse_results(p).outbox for p in device.sent("results")} == {new_id}
    assert device.labels() == ["a", "b"]


def test_what_was_confirmed_by_an_old_number_is_not_deleted_by_a_new_one(make: MakeDevice) -> None:
    device = make()
    device.put("a", "b")
    device.put("c", "d")
    device.pump()
    device.acknowledge(0)
    device.writer.let_go(Spans(((1, 2),)), 2)

    def rotate() -> Spans:
        device.outbox.rotate()
        return Spans()

    device.writer.order(rotate)
    assert device.writer.store_now()
    assert device.outbox.waiting.rows == 2
    device.broker.waiting.clear()
    device.pump()
    assert device.labels() == ["c", "d"]


def test_a_broker_of_few_messages_is_not_flooded_after_the_outbox_was_rewritten(
    make: MakeDevice,
) -> None:
    device = make(packet_bytes=6_000, receive_maximum=2)
    for n in range(12):
        device.put(*"x" * 20, str(n))
    device.pump(6)
    assert device.courier.session.in_flight == 2


def test_a_page_that_breaks_while_running_ends_one_outbox_and_not_the_delivery(
    make: MakeDevice,
) -> None:
    device = make()
    for _ in range(20):
        device.put(*"abcdefghijklmnopqrst" * 5)
    old_id = device.outbox.id
    device.outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(device.outbox.path.read_bytes())
    leaves = [
        at for at in range(4096, len(content), 4096)
        if content[at] == 0x0D and int.from_bytes(content[at + 3 : at + 5], "big")
    ]  # fmt: skip
    with device.outbox.path.open("r+b") as file:
        for at in leaves[2:]:
            file.seek(at)
            file.write(b"\xff" * 64)
    device.outbox._reader.execute("PRAGMA cache_size=1")
    for _ in range(4):
        device.pump()
        device.clock.advance(1.0)
    assert device.outbox.id != old_id
    assert device.outbox.aside is not None
    device.put("new")
    device.pump()
    assert device.labels()[-1] == "new"


def test_rows_that_are_none_any_more_become_gaps_and_their_neighbours_arrive(
    make: MakeDevice,
) -> None:
    device = make()
    device.put(*"abcd")
    body = device.outbox._db.execute("SELECT body FROM entries").fetchone()[0]
    broken = body.replace(b'"seq":2', b'"seq":7').replace(b'"label":"c"', b'"label":c"')
    device.outbox._db.execute("UPDATE entries SET body = ?", (broken,))
    device.pump()
    whole = device.sent("results")[0]
    device.broker.waiting.clear()
    device.refuse(whole)
    device.clock.advance(6.0)
    device.pump()
    assert device.labels() == ["a", "d"]
    gaps = [row for payload in device.sent("events") for row in parse_events(payload).events]
    assert [(g.seq, g.last, g.fields["reason"]) for g in gaps] == [(2, 3, "damaged on disk")]


def test_a_row_that_the_store_refuses_becomes_a_gap(make: MakeDevice) -> None:
    device = make()
    device.put("a", "b")
    device.pump()
    device.refuse(device.sent("results")[0])
    alone = [p for p in device.sent("results")[1:] if parse_results(p).results[0].label == "b"]
    device.refuse(alone[0])
    device.clock.advance(6.0)
    device.pump()
    gap = parse_events(device.sent("events")[-1]).events[0]
    assert (gap.seq, gap.last, gap.fields["reason"]) == (2, 2, "refused by the store")
    assert device.outbox.waiting.rows == 1
