"""What happens to the receiving end, over both stores: forgotten, restored, shared.

The device's delivery and the ingest are the real ones; where hours or crashes
are needed, the clock and the broker are simulated.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path

import pytest

from edgeml.clock import ManualClock
from edgeml.fleet.ingest import Ingest, Limits, filters
from edgeml.fleet.localbroker import BrokerKind, LocalBroker, find_mosquitto
from edgeml.fleet.store import Store
from edgeml.fleet.stores import open_store
from edgeml.result import ModelRef, Result
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.courier import Courier
from edgeml.sync.delivery import Delivery
from edgeml.sync.entries import Caps
from edgeml.sync.marks import AUDIT_DELAY_S
from edgeml.sync.messages import Ack
from edgeml.sync.outbox import Outbox
from edgeml.sync.pending import Pace, PendingResult
from edgeml.sync.settings import Mqtt
from edgeml.sync.spans import Spans
from edgeml.sync.writer import Writer
from tests.ingesting import ingesting
from tests.memoryline import MemoryBroker, MemoryLine

MODEL = ModelRef("m", 1, "00")
ACK = topics.device_topic("plant", "pump", topics.ACK)
DEADLINE_S = 120.0


def a_result(n: int) -> Result:
    return Result(MODEL, n, n + 1.0, "x", 0.5, (0.5,), 1.0, 1.0, 1.0)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.workstation)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if kind == "sqlite":
        return str(tmp_path / "store.db")
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def back_up(kind: str, request: pytest.FixtureRequest) -> Callable[[str, Path], None]:
    """How an operator copies a store that is in use."""
    if kind == "postgresql":
        dump: Callable[[str, Path], None] = request.getfixturevalue("postgres_server").dump
        return dump

    def copy(place: str, backup: Path) -> None:
        with closing(sqlite3.connect(place)) as of, closing(sqlite3.connect(backup)) as to:
            of.backup(to)

    return copy


@pytest.fixture
def restored(kind: str, request: pytest.FixtureRequest) -> Callable[[Path], str]:
    """Where a store is that came out of a backup."""
    if kind == "sqlite":
        return str
    server = request.getfixturevalue("postgres_server")

    def restore(backup: Path) -> str:
        url: str = server.new_database()
        server.restore(url, backup)
        return url

    return restore


class Site:
    """A device, a broker in memory and an ingest, on a clock that the test moves."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self._stack = stack
        self.clock = ManualClock()
        self.broker = MemoryBroker()
        self.outbox = Outbox(home / "outbox.db", Caps(1 << 24, 1 << 20), self.clock)
        stack.callback(self.outbox.close)
        pace = Pace(interval_s=0.0, rows=10, row_bytes=4_000, entry_bytes=600, memory_rows=1_000)
        self.writer = Writer(self.outbox, pace, self.clock, self._committed)
        line = MemoryLine(self.broker, (ACK,), lambda n: self.courier.state(n, online=False))
        settings = Mqtt("mqtt://nowhere", fleet="plant", batch_rows=8)
        self.courier = Courier("pump", settings, self.outbox, self.writer, line, self.clock)
        line.open()
        self.produced = 0

    def start_ingest(self, place: str) -> Store:
        """An ingest where there may have been another one before."""
        store = open_store(place, create=True)
        self._stack.callback(store.close)
        line = MemoryLine(self.broker, filters("plant", shares=True))
        self.ingest = Ingest(
            Connection("mqtt://nowhere"), "plant", store,
            limits=Limits(interval_s=0.0), clock=self.clock, line=line,
        )  # fmt: skip
        line.open()
        return store

    def fail_over(self, place: str) -> Store:
        """The same ingest on a store that lacks what the one before confirmed last."""
        store = open_store(place)
        self._stack.callback(store.close)
        self.ingest._store = store
        return store

    def produce(self, count: int) -> None:
        for n in range(self.produced, self.produced + count):
            self.writer.put(PendingResult(a_result(n), n, None))
        self.produced += count
        assert self.writer.store_now()

    def turn(self, times: int = 40) -> None:
        for _ in range(times):
            self.courier.pump(0.0)
            self.writer.store_now()
            while self.broker.waiting:
                self.broker.route(0)
            self.ingest.step(0.0)
            while self.broker.waiting:
                self.broker.route(0)

    def _committed(self, gaps: Spans) -> None:
        self.courier.committed(gaps)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


def windows(store: Store) -> list[int]:
    return [row["window"] for row in store.results()]


@pytest.mark.parametrize("go_on", [Site.start_ingest, Site.fail_over])
def test_what_a_restored_store_lost_is_named_and_everything_else_goes_on(
    go_on: Callable[[Site, str], Store],
    site: Site,
    place: str,
    tmp_path: Path,
    back_up: Callable[[str, Path], None],
    restored: Callable[[Path], str],
) -> None:
    """Yesterday's backup comes back; what the device deleted since then exists nowhere."""
    site.start_ingest(place)
    site.produce(50)
    site.turn()
    back_up(place, tmp_path / "backup")
    site.produce(30)
    site.turn()
    site.clock.advance(AUDIT_DELAY_S + 1)
    site.turn()
    assert site.outbox.waiting.rows == 0
    store = go_on(site, restored(tmp_path / "backup"))
    site.produce(20)
    site.turn()
    site.clock.advance(AUDIT_DELAY_S + 1)
    site.turn()
    assert windows(store) == [*range(50), *range(80, 100)]
    lost = Spans.of((gap["first"], gap["last"]) for gap in store.gaps())
    assert (lost.count, {gap["reason"] for gap in store.gaps()}) == (
        30,
        {"the store lost what it had confirmed"},
    )
    progress = store.progress("pump", site.outbox.id)
    assert (progress.mark, progress.above) == (100, Spans())
    status = store.status()[0]
    assert (status.results, status.missing, status.unaccounted) == (70, 30, 0)
    assert site.outbox.waiting.rows == 0


def test_a_store_that_is_new_names_everything_that_was_confirmed_before(
    site: Site, place: str, restored: Callable[[Path], str], tmp_path: Path
) -> None:
    site.start_ingest(str(tmp_path / "old.db"))
    site.produce(40)
    site.turn()
    store = site.start_ingest(place)
    site.produce(5)
    site.turn()
    site.clock.advance(AUDIT_DELAY_S + 1)
    site.turn()
    assert windows(store) == list(range(40, 45))
    assert sum(gap["last"] - gap["first"] + 1 for gap in store.gaps()) == 40


def test_a_broker_that_forgot_everything_is_told_every_mark_again(site: Site, place: str) -> None:
    site.start_ingest(place)
    site.produce(25)
    site.turn()
    site.broker.kill()
    site.broker.retained.clear()
    site.broker.running = True
    site.clock.advance(60.0)
    site.turn()
    assert Ack.parse(site.broker.retained[ACK]).mark == 25
    site.produce(5)
    site.turn()
    assert Ack.parse(site.broker.retained[ACK]).mark == 30
    assert site.outbox.waiting.rows == 0


def an_ingest(broker: LocalBroker, place: str) -> AbstractContextManager[Ingest]:
    connection = Connection(broker.url, reconnect_min_s=0.1, reconnect_max_s=0.5)
    return ingesting(connection, open_store(place, create=True))


def test_two_ingests_share_the_load_of_a_fleet_and_one_may_go(
    place: str, kind: str, tmp_path: Path
) -> None:
    mosquitto = find_mosquitto()
    if mosquitto is None:
        pytest.fail("this needs Mosquitto: make mosquitto")
    with ExitStack() as stack:
        broker = stack.enter_context(
            LocalBroker(BrokerKind("mosquitto", (str(mosquitto), "-p", "{port}")))
        )
        first = stack.enter_context(an_ingest(broker, place))
        deliveries = [
            stack.enter_context(
                Delivery(
                    f"pump-{n}",
                    Mqtt(
                        broker.url, fleet="plant", outbox=tmp_path / f"{n}.db", batch_rows=5,
                        commit_interval_ms=20, reconnect_min_s=0.1, reconnect_max_s=0.5,
                    ),
                )
            )
            for n in range(4)
        ]  # fmt: skip
        with an_ingest(broker, place) as second:
            give_up_s = time.monotonic() + DEADLINE_S
            while not (first.online and second.online):  # it has subscribed, too
                assert time.monotonic() < give_up_s
                time.sleep(0.01)
            made = 0
            while not second.tally.rows and made < 2_000:
                produce(deliveries, made, made + 100)
                made += 100
            assert second.tally.rows > 0
        produce(deliveries, made, made + 50)
        assert first.tally.rows + second.tally.rows == 4 * (made + 50)
    with closing(open_store(place)) as store:
        assert windows(store) == list(range(made + 50)) * 4
        assert [d.unaccounted for d in store.status()] == [0, 0, 0, 0]


def produce(deliveries: list[Delivery], first: int, end: int) -> None:
    for n in range(first, end):
        for delivery in deliveries:
            delivery.put(a_result(n), window_index=n)
    for delivery in deliveries:
        assert delivery.wait_delivered(DEADLINE_S)
