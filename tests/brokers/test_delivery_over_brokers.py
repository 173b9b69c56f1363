"""The same runs over each broker: nothing lost, nothing twice, whatever the broker cannot do.

Real servers, real threads, real stores; the broker is killed where the name of
the test says so, and what it then still knows is its own affair.
"""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from edgeml.fleet.ingest import Ingest
from edgeml.fleet.sqlite_store import SQLiteStore
from edgeml.result import ModelRef, Result
from edgeml.sync.connection import Connection
from edgeml.sync.delivery import Delivery
from edgeml.sync.settings import AckMode, Mqtt
from tests.brokers.servers import Server
from tests.ingesting import ingesting

pytestmark = pytest.mark.brokers
MODEL = ModelRef("activity", 3, "ab" * 32)
DEADLINE_S = 60.0
_plants = itertools.count()


class Plant:
    """A fleet of its own on a broker that all tests share."""

    def __init__(self, server: Server, home: Path) -> None:
        self.server = server
        self.home = home
        self.fleet = f"plant-{next(_plants)}"
        self.store = home / "store.db"

    def delivery(self, device: str = "pump-7", ack: AckMode = "fleet") -> Delivery:
        settings = Mqtt(
            self.server.url,
            fleet=self.fleet,
            outbox=self.home / f"{device}.db",
            ack=ack,
            reconnect_min_s=0.1,
            reconnect_max_s=0.5,
            resend_after_s=2.0,
            commit_interval_ms=20,
            batch_rows=50,
        )
        return Delivery(device, settings)

    def ingest(self) -> AbstractContextManager[Ingest]:
        connection = Connection(self.server.url, reconnect_min_s=0.1, reconnect_max_s=0.5)
        return ingesting(connection, SQLiteStore(self.store), self.fleet)

    def windows(self) -> list[int]:
        """The windows that are stored, in the order of their numbers."""
        store = SQLiteStore(self.store)
        try:
            assert store.letters() == []
            return [row["window"] for row in store.results()]
        finally:
            store.close()

    def mark(self, device: str) -> int:
        """How far everything of the device's outbox is stored, events among it."""
        store = SQLiteStore(self.store)
        try:
            return next(p.mark for p in store.current() if p.device == device)
        finally:
            store.close()

    def online(self, device: str) -> bool:
        store = SQLiteStore(self.store)
        try:
            return any(d.device == device and d.online for d in store.status())
        finally:
            store.close()


@pytest.fixture
def plant(server: Server, tmp_path: Path) -> Plant:
    return Plant(server, tmp_path)


def put(delivery: Delivery, first: int, count: int) -> None:
    for n in range(first, first + count):
        result = Result(MODEL, float(n), n + 10.0, "walking", 0.75, (0.25, 0.75), 11.0, 22.0, 3.0)
        delivery.put(result, window_index=n)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_results_and_events_reach_the_store_and_leave_the_device(plant: Plant) -> None:
    with plant.ingest(), plant.delivery() as delivery:
        put(delivery, 0, 300)
        delivery.event("drift", {"psi": 0.5})
        assert delivery.wait_delivered(DEADLINE_S)
        wait_until(lambda: plant.online("pump-7"))
    assert plant.windows() == list(range(300))
    assert plant.mark("pump-7") == 301


def test_results_wait_until_there_is_an_ingest_and_survive_a_restart_of_the_device(
    plant: Plant,
) -> None:
    with plant.delivery() as delivery:
        put(delivery, 0, 100)
        assert delivery.flush(DEADLINE_S)
    with plant.delivery() as delivery:
        put(delivery, 100, 100)
        assert delivery.flush(DEADLINE_S)
        with plant.ingest():
            assert delivery.wait_delivered(DEADLINE_S)
    assert plant.windows() == list(range(200))


def test_a_broker_that_is_killed_loses_nothing(plant: Plant) -> None:
    with plant.ingest(), plant.delivery() as delivery:
        put(delivery, 0, 200)
        assert delivery.flush(DEADLINE_S)
        plant.server.kill()
        put(delivery, 200, 200)
        assert delivery.flush(DEADLINE_S)
        plant.server.start()
        assert delivery.wait_delivered(DEADLINE_S)
    assert plant.windows() == list(range(400))


def test_an_ingest_that_comes_back_gets_what_it_missed(plant: Plant) -> None:
    with plant.delivery() as delivery:
        with plant.ingest():
            put(delivery, 0, 100)
            assert delivery.wait_delivered(DEADLINE_S)
        put(delivery, 100, 100)
        assert delivery.flush(DEADLINE_S)
        with plant.ingest():
            assert delivery.wait_delivered(DEADLINE_S)
    assert plant.windows() == list(range(200))


def test_two_ingests_on_one_store_double_nothing(plant: Plant) -> None:
    with plant.ingest() as one, plant.ingest() as two, plant.delivery() as delivery:
        for first in range(0, 300, 30):
            put(delivery, first, 30)
            assert delivery.wait_delivered(DEADLINE_S)
        assert one.tally.rows + two.tally.rows == 300
    assert plant.windows() == list(range(300))


def test_with_ack_broker_the_brokers_answer_is_enough(plant: Plant) -> None:
    with plant.delivery(ack="broker") as delivery:
        put(delivery, 0, 200)
        assert delivery.wait_delivered(DEADLINE_S)


DYING = """
import sys, time
from edgeml.sync.delivery import Delivery
from edgeml.sync.settings import Mqtt
with Delivery("dies", Mqtt(sys.argv[1], fleet=sys.argv[2], outbox=sys.argv[3])):
    time.sleep(600)
"""


def test_a_device_that_is_killed_is_soon_known_to_be_away(plant: Plant) -> None:
    outbox = plant.home / "dies.db"
    command = [sys.executable, "-c", DYING, plant.server.url, plant.fleet, str(outbox)]
    with plant.ingest():
        device = subprocess.Popen(command)
        try:
            wait_until(lambda: plant.online("dies"))
        finally:
            device.kill()
            device.wait()
        wait_until(lambda: not plant.online("dies"))
