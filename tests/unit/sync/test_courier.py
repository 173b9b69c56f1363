"""What goes onto the line, and what becomes of it, with the real outbox and a broker in memory."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeml.clock import ManualClock
from edgeml.result import ModelRef, Result
from edgeml.sync import topics
from edgeml.sync.batches import parse_events, parse_results
from edgeml.sync.courier import Courier
from edgeml.sync.entries import Caps
from edgeml.sync.memoryline import MemoryBroker, MemoryLine
from edgeml.sync.messages import Ack, State
from edgeml.sync.outbox import Outbox
from edgeml.sync.pending import Pace, PendingEvent, PendingResult
from edgeml.sync.settings import Mqtt
from edgeml.sync.spans import Spans
from edgeml.sync.writer import Writer

MODEL = ModelRef("m", 1, "00")
PACE = Pace(interval_s=0.0, rows=100, row_bytes=20_000, entry_bytes=8_000, memory_rows=10_000)
BULK = (topics.RESULTS, topics.EVENTS)
MIDNIGHT_S = 1_700_006_400.0
ACK = topics.device_topic("default", "dev", topics.ACK)


class Device:
    """A device's delivery on a clock and a broker that the test holds."""

    def __init__(self, home: Path, *, packet_bytes: int = 64 * 1024, **options: Any) -> None:
        self.clock = ManualClock(now_s=MIDNIGHT_S)
        self.broker = MemoryBroker()
        self.outbox = Outbox(home / "outbox.db", Caps(1 << 24, 1 << 20), self.clock)
        self.writer = Writer(self.outbox, PACE, self.clock, self._committed)
        self.line = MemoryLine(self.broker, (ACK,), packet_bytes=packet_bytes)
        settings = Mqtt("mqtt://nowhere", **options)
        self.courier = Courier("dev", settings, self.outbox, self.writer, self.line, self.clock)
        self.line.open()
        somebody = MemoryLine(self.broker, tuple(f"edgeml/1/+/d/+/{name}" for name in BULK))
        somebody.open()
        somebody.step(0.0)

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
        self.line.deliver(ACK, ack.encode(), retained=False, qos=0)
        self.pump()

    def sent(self, channel: str) -> list[bytes]:
        topic = topics.device_topic("default", "dev", channel)
        return [message.payload for message in self.broker.waiting if message.topic == topic]

    def labels(self) -> list[str | None]:
        return [
            row.label for payload in self.sent("results") for row in parse_results(payload).results
        ]


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
    birth = State.parse(device.sent("state")[0])
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


def test_an_old_copy_of_an_outbox_goes_on_under_a_new_name(make: MakeDevice) -> None:
    device = make()
    device.put("a", "b")
    device.pump()
    old_id = device.outbox.id
    device.broker.waiting.clear()
    device.acknowledge(500)
    assert device.outbox.id != old_id
    batch = parse_results(device.sent("results")[-1])
    assert (batch.outbox, [row.seq for row in batch.results]) == (device.outbox.id, [1, 2])
    assert State.parse(device.sent("state")[-1]).outbox == device.outbox.id


def test_a_spent_allowance_waits_for_its_refill(make: MakeDevice) -> None:
    device = make(max_bytes_per_s=100.0, batch_rows=1)
    device.put("a")
    device.put("b")
    device.pump()
    assert device.labels() == ["a"]
    device.clock.advance(0.5)
    device.pump()
    assert device.labels() == ["a"]
    device.clock.advance(3.0)
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
