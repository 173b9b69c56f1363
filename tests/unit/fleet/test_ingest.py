"""The ingest promises nothing before it is stored, and nothing stops it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgeml.clock import ManualClock
from edgeml.errors import StoreError
from edgeml.fleet.ingest import Ingest, Limits, filters
from edgeml.fleet.sqlite_store import SQLiteStore
from edgeml.fleet.store import Committed, Intake, Progress, UnstorableError
from edgeml.result import ModelRef, Result
from edgeml.sync import topics
from edgeml.sync.batches import encode_batch
from edgeml.sync.connection import Connection
from edgeml.sync.line import LinkEvent, Message, Received
from edgeml.sync.messages import (
    MAX_RANGES,
    Ack,
    Receipt,
    Refusal,
    State,
    digest_of,
    encode_health,
    parse_answer,
)
from edgeml.sync.rows import gap_row, result_row
from edgeml.sync.spans import Spans
from tests.memoryline import MemoryBroker, MemoryLine

MODEL = ModelRef("m", 1, "00")
RESULT = Result(MODEL, 1.0, 2.0, "x", 0.5, (0.5,), 1.0, 1.0, 1.0)


class MoodyStore(SQLiteStore):
    """A store that can be told to fail."""

    mood: Exception | None = None
    silent: Exception | None = None

    def current(self) -> Sequence[Progress]:
        if self.silent is not None:
            raise self.silent
        return super().current()

    def commit(self, intake: Intake, received_s: float) -> Committed:
        if self.mood is not None and intake.batches:
            raise self.mood
        return super().commit(intake, received_s)


class WatchedLine(MemoryLine):
    """A line that remembers what was acknowledged and when."""

    def __init__(self, broker: MemoryBroker, wanted: tuple[str, ...]) -> None:
        super().__init__(broker, wanted)
        self.acknowledged: list[int] = []
        self.received: list[int] = []

    def acknowledge(self, token: int) -> None:
        self.acknowledged.append(token)

    def step(self, timeout_s: float) -> list[LinkEvent]:
        events = super().step(timeout_s)
        self.received += [e.token for e in events if isinstance(e, Received) and e.token]
        return events


@dataclass
class Bench:
    """A broker in memory, an ingest on it, and a device's side of the line."""

    store: MoodyStore
    clock: ManualClock = field(default_factory=ManualClock)
    broker: MemoryBroker = field(default_factory=MemoryBroker)

    def __post_init__(self) -> None:
        self.refused: list[Refusal] = []
        self.receipts: list[Receipt] = []
        self.line = WatchedLine(self.broker, filters("f", shares=True))
        self.ingest = Ingest(
            Connection("mqtt://nowhere"), "f", self.store,
            limits=Limits(interval_s=0.0), clock=self.clock, line=self.line,
        )  # fmt: skip
        self.device = MemoryLine(self.broker, ("edgeml/1/f/d/+/ack",))
        self.line.open()
        self.device.open()
        self.turn()

    def send(
        self, channel: str, payload: bytes, device: str = "pump", *, retain: bool = False
    ) -> None:
        topic = topics.device_topic("f", device, channel)
        self.device.publish(Message(topic, payload, 1, retain))

    def turn(self) -> list[Ack]:
        """Let everything travel once; what the device was told."""
        while self.broker.waiting:
            self.broker.route(0)
        self.ingest.step(0.0)
        while self.broker.waiting:
            self.broker.route(0)
        received = [e for e in self.device.step(0.0) if isinstance(e, Received)]
        answers = [parse_answer(e.payload) for e in received]
        self.refused += [a for a in answers if isinstance(a, Refusal)]
        self.receipts += [a for a in answers if isinstance(a, Receipt)]
        return [a for a in answers if isinstance(a, Ack)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = MoodyStore(tmp_path / "store.db")
    yield Bench(store)
    store.close()


def batch(*seqs: int, outbox: str = "box") -> bytes:
    return encode_batch(outbox, MODEL, [result_row(n, RESULT, n, None) for n in seqs])


def seqs(bench: Bench) -> list[int]:
    return [row["seq"] for row in bench.store.results()]


def test_a_batch_is_stored_then_confirmed_then_answered(bench: Bench) -> None:
    bench.send(topics.RESULTS, batch(1, 2, 3))
    acks = bench.turn()
    assert [(a.outbox, a.mark, a.greeting) for a in acks] == [("box", 3, False)]
    assert seqs(bench) == [1, 2, 3]
    assert bench.line.acknowledged == bench.line.received != []


def test_a_duplicate_is_confirmed_again(bench: Bench) -> None:
    bench.send(topics.RESULTS, batch(1, 2))
    bench.turn()
    bench.send(topics.RESULTS, batch(1, 2))
    assert [a.mark for a in bench.turn()] == [2]
    assert bench.ingest.tally.duplicates == 2


def test_while_the_store_fails_nothing_is_confirmed_and_nothing_forgotten(bench: Bench) -> None:
    bench.store.mood = StoreError("the disk is full")
    bench.send(topics.RESULTS, batch(1, 2))
    assert bench.turn() == []
    assert bench.line.acknowledged == []
    bench.store.mood = None
    bench.clock.advance(5.0)
    assert [a.mark for a in bench.turn()] == [2]
    assert bench.line.acknowledged == bench.line.received


def test_what_the_store_refuses_for_good_goes_to_the_dead_letters(bench: Bench) -> None:
    bench.store.mood = UnstorableError("a value that no column takes")
    bench.send(topics.RESULTS, batch(1, 2))
    assert bench.turn() == []
    letter = bench.store.letters()[0]
    assert "no column takes" in letter["reason"]
    assert letter["topic"] == "edgeml/1/f/d/pump/results"
    assert letter["payload"] == batch(1, 2)
    assert [r.digest for r in bench.refused] == [digest_of(batch(1, 2))]
    assert bench.line.acknowledged == bench.line.received


POISON = {
    "not JSON": (topics.RESULTS, b"{"),
    "a later version": (topics.RESULTS, batch(1).replace(b'"v":1', b'"v":2')),
    "events on results": (topics.RESULTS, encode_batch("box", None, [gap_row(1, 2, 0.0, "x")])),
    "a state of somebody else": (
        topics.STATE,
        State(True, "other", "box", (1, 1), 0.0, "0").encode(),
    ),
    "a health that is a list": (topics.HEALTH, b"[]"),
}


@pytest.mark.parametrize(("channel", "payload"), POISON.values(), ids=POISON)
def test_poison_is_kept_with_its_reason_and_never_stops_the_rest(
    bench: Bench, channel: str, payload: bytes
) -> None:
    bench.send(channel, payload)
    bench.send(topics.RESULTS, batch(1))
    assert [a.mark for a in bench.turn()] == [1]
    letter = bench.store.letters()[0]
    assert letter["payload"] == payload
    assert letter["reason"]
    later = b'"v":2' in payload
    told = channel == topics.RESULTS and not later
    assert [r.digest for r in bench.refused] == [digest_of(payload)] * told
    assert bench.line.acknowledged == bench.line.received


def test_a_message_that_comes_again_and_again_is_one_dead_letter(bench: Bench) -> None:
    for _ in range(3):
        bench.send(topics.RESULTS, b'{"v": 2}')
        bench.turn()
    bench.store.mood = UnstorableError("a value that no column takes")
    for _ in range(3):
        bench.send(topics.RESULTS, batch(1))
        bench.turn()
    assert len(bench.refused) == 3
    assert bench.ingest.tally.dead_letters == 6
    assert len(bench.store.letters()) == 2
    assert bench.line.acknowledged == bench.line.received


def test_a_device_that_is_born_learns_that_somebody_is_there(bench: Bench) -> None:
    bench.send(topics.STATE, State(True, "pump", "new box", (1, 1), 0.0, "0").encode(), retain=True)
    assert [(a.outbox, a.mark, a.greeting) for a in bench.turn()] == [("new box", 0, False)]


def test_an_ingest_that_comes_back_greets_every_device_with_its_mark(bench: Bench) -> None:
    bench.send(topics.RESULTS, batch(1, 2))
    before = bench.turn()[0].ingest
    bench.broker.kill()
    bench.broker.running = True
    bench.device.step(0.0)
    acks = bench.turn()
    assert [(a.mark, a.greeting) for a in acks] == [(2, True)]
    assert acks[0].ingest != before
    assert bench.ingest.tally.outages == 1


def test_a_device_that_was_there_first_is_greeted_too(tmp_path: Path) -> None:
    broker = MemoryBroker()
    state = State(True, "pump", "box", (1, 1), 0.0, "0").encode()
    broker.retained["edgeml/1/f/d/pump/state"] = state
    bench = Bench(MoodyStore(tmp_path / "store.db"), broker=broker)
    bench.turn()
    greeting = Ack.parse(broker.retained["edgeml/1/f/d/pump/ack"])
    assert (greeting.mark, greeting.greeting) == (0, True)
    bench.store.close()


def test_states_and_healths_make_the_status(bench: Bench) -> None:
    state = State(True, "pump", "box", (1, 1), 0.0, "0.1.0", MODEL)
    bench.send(topics.STATE, state.encode(), retain=True)
    bench.send(topics.HEALTH, encode_health("pump", 1.0, {"delivery": {"waiting_rows": 7}}))
    bench.turn()
    status = bench.store.status()[0]
    assert (status.device, status.online, status.model) == ("pump", True, "m@1")
    assert status.health["delivery"] == {"waiting_rows": 7}


def test_a_cleared_retained_message_means_nothing(bench: Bench) -> None:
    bench.send(topics.STATE, b"", retain=True)
    bench.turn()
    assert bench.store.letters() == []
    assert bench.line.acknowledged == bench.line.received


def test_a_hole_is_named_beyond_the_mark(bench: Bench) -> None:
    bench.send(topics.RESULTS, batch(1, 2, 5, 6))
    ack = bench.turn()[0]
    assert (ack.mark, ack.above) == (2, Spans(((5, 6),)))


def test_messages_are_named_where_there_are_more_holes_than_an_ack_has_ranges(
    bench: Bench,
) -> None:
    bench.send(topics.RESULTS, batch(*range(2, 2 * MAX_RANGES + 1, 2)))
    bench.turn()
    assert bench.receipts == []
    further = batch(2 * MAX_RANGES + 2)
    for _ in range(2):  # known or not, the device asks for it to be confirmed
        bench.send(topics.RESULTS, further)
        bench.turn()
        assert [receipt.digests for receipt in bench.receipts] == [(digest_of(further),)]
        bench.receipts.clear()


def test_no_message_is_named_as_stored_before_it_is(bench: Bench) -> None:
    bench.send(topics.RESULTS, batch(*range(2, 2 * MAX_RANGES + 3, 2)))
    bench.store.mood = StoreError("the disk is full")
    bench.turn()
    assert bench.receipts == []
    bench.store.mood = None
    bench.clock.advance(5.0)
    bench.turn()
    assert len(bench.receipts) == 1


def test_nothing_is_refused_before_it_is_among_the_dead_letters(bench: Bench) -> None:
    class Failing(SQLiteStore):
        def commit(self, intake: Intake, received_s: float) -> Committed:
            raise StoreError("the disk is full")

    whole, bench.store.__class__ = bench.store.__class__, Failing  # type: ignore[assignment]
    bench.send(topics.RESULTS, b"{")
    bench.turn()
    assert bench.refused == []
    bench.store.__class__ = whole
    bench.clock.advance(5.0)
    bench.turn()
    assert len(bench.refused) == len(bench.store.letters()) == 1


def test_while_the_store_fails_memory_holds_no_more_than_its_limit(bench: Bench) -> None:
    bench.store.mood = StoreError("the disk is full")
    for n in range(1, 1_000):
        bench.send(topics.RESULTS, batch(n))
        bench.send(topics.HEALTH, encode_health("pump", 1.0, {}))
        bench.send(topics.STATE, State(True, "pump", "box", (1, n), 0.0, "0").encode())
        bench.turn()
    intake = bench.ingest._intake
    assert len(intake.batches) <= 2 * Limits().messages
    assert (len(intake.healths), len(intake.states)) == (1, 1)
    assert intake.states["pump", "box"].epoch[1] > 1
    bench.broker.kill()
    bench.broker.running = True
    bench.turn()
    assert intake.batches == []


def test_what_memory_does_not_hold_while_the_store_fails_is_asked_for_again_when_it_is_back(
    bench: Bench,
) -> None:
    bench.send(topics.RESULTS, batch(1))
    before = bench.turn()[0].ingest
    bench.ingest._limits = Limits(interval_s=0.0, messages=2)
    bench.store.mood = StoreError("the disk is full")
    for n in range(2, 9):
        bench.send(topics.RESULTS, batch(n))
        bench.turn()
    bench.store.mood = None
    bench.clock.advance(5.0)
    acks = bench.turn()
    assert {(a.mark, a.greeting) for a in acks} == {(3, False), (3, True)}
    assert before not in {a.ingest for a in acks}
    # The broker has every answer that it waits for, or it would soon send nothing more.
    assert bench.line.acknowledged == bench.line.received


def test_an_ingest_that_comes_while_the_store_is_down_greets_when_it_is_back(bench: Bench) -> None:
    bench.send(topics.RESULTS, batch(1))
    bench.turn()
    bench.store.silent = StoreError("the server is down")
    bench.broker.kill()
    bench.broker.running = True
    bench.device.step(0.0)
    assert bench.turn() == []
    bench.store.silent = None
    bench.clock.advance(5.0)
    assert [(a.mark, a.greeting) for a in bench.turn()] == [(1, True)]


def test_an_older_state_does_not_replace_a_newer_one_on_its_way_to_the_store() -> None:
    intake = Intake()
    newer, older = (State(True, "pump", "box", (1, n), 0.0, "0") for n in (5, 4))
    intake.note_state(newer)
    intake.note_state(older)
    assert list(intake.states.values()) == [newer]


def test_a_message_waits_for_company_unless_it_is_worth_a_commit_of_its_own(bench: Bench) -> None:
    bench.ingest._limits = Limits(interval_s=60.0, enough_bytes=1_000)
    bench.send(topics.RESULTS, batch(1))
    assert bench.turn() == []
    bench.send(topics.RESULTS, batch(*range(2, 30)))
    assert [(a.mark, a.outbox) for a in bench.turn()] == [(29, "box")]
    bench.send(topics.RESULTS, batch(30))
    assert bench.turn() == []
    bench.clock.advance(60.0)
    assert [a.mark for a in bench.turn()] == [30]
