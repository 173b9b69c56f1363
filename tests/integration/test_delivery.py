"""Results arrive exactly once, whoever of the three dies: real broker, real store, real threads."""

import json
import socket
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.errors import InputError, OutboxError
from edgeml.fleet.ingest import Ingest
from edgeml.fleet.localbroker import BrokerKind, LocalBroker, embedded, find_mosquitto
from edgeml.fleet.sqlite_store import SQLiteStore
from edgeml.fleet.store import DeviceStatus
from edgeml.result import ModelRef, Result
from edgeml.sync.connection import Connection, Protocol
from edgeml.sync.delivery import Delivery
from edgeml.sync.settings import AckMode, Mqtt
from tests.ingesting import ingesting
from tests.waiting import until

MODEL = ModelRef("activity", 3, "ab" * 32)
DEADLINE_S = 300.0


def a_result(n: int) -> Result:
    return Result(MODEL, float(n), n + 10.0, "walking", 0.75, (0.25, 0.75), 11.0, 22.0, 3.0)


def kinds() -> list[BrokerKind]:
    mosquitto = find_mosquitto()
    found = [embedded()]
    return (
        found
        if mosquitto is None
        else [BrokerKind("mosquitto", (str(mosquitto), "-p", "{port}")), *found]
    )


@pytest.fixture(params=kinds(), ids=lambda kind: kind.name)
def broker(request: pytest.FixtureRequest) -> Iterator[LocalBroker]:
    if request.param.name == "embedded":
        pytest.importorskip("amqtt")
    with LocalBroker(request.param) as running:
        yield running


def settings(broker: LocalBroker, tmp_path: Path, ack: AckMode = "fleet") -> Mqtt:
    return Mqtt(
        broker.url,
        fleet="plant",
        outbox=tmp_path / "outbox.db",
        reconnect_min_s=0.1,
        reconnect_max_s=0.5,
        commit_interval_ms=20,
        ack=ack,
    )


def an_ingest(broker: LocalBroker, path: Path) -> AbstractContextManager[Ingest]:
    # Where the broker knows 5, no slow moment of it may be taken for a sign that it does not.
    protocol: Protocol = "5" if broker.kind.name == "mosquitto" else "auto"
    connection = Connection(broker.url, protocol=protocol, reconnect_min_s=0.1, reconnect_max_s=0.5)
    return ingesting(connection, SQLiteStore(path))


def windows(path: Path) -> list[int]:
    store = SQLiteStore(path)
    try:
        return [row["window"] for row in store.results()]
    finally:
        store.close()


def status(path: Path) -> Sequence[DeviceStatus]:
    store = SQLiteStore(path)
    try:
        return store.status()
    finally:
        store.close()


def last_health(path: Path) -> Mapping[str, Any]:
    """What the only device said last of itself; nothing where it said nothing yet."""
    return next((device.health for device in status(path)), {})


def test_results_reach_the_store_and_leave_the_device(broker: LocalBroker, tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    with an_ingest(broker, store), Delivery("pump-7", settings(broker, tmp_path)) as delivery:
        for n in range(300):
            delivery.put(a_result(n), window_index=n, extra={"truth": "walking"})
        assert delivery.wait_delivered(DEADLINE_S)
        assert delivery.health().waiting_rows == 0
    rows = list(SQLiteStore(store).results())
    assert [row["window"] for row in rows] == list(range(300))
    first = rows[0]
    assert (first["device"], first["label"], first["score"]) == ("pump-7", "walking", 0.75)
    assert (first["start_s"], first["end_s"], json.loads(first["outputs"])) == (0, 10, [0.25, 0.75])
    assert json.loads(first["extra"]) == {"truth": "walking"}
    assert (first["model"], first["model_version"], first["model_digest"]) == (
        "activity", 3, "ab" * 32,
    )  # fmt: skip


def test_a_broker_that_dies_and_forgets_everything_loses_nothing(
    broker: LocalBroker, tmp_path: Path
) -> None:
    store = tmp_path / "store.db"
    with an_ingest(broker, store), Delivery("pump-7", settings(broker, tmp_path)) as delivery:
        for n in range(200):
            delivery.put(a_result(n), window_index=n)
        assert delivery.wait_delivered(DEADLINE_S)
        broker.kill()
        for n in range(200, 400):
            delivery.put(a_result(n), window_index=n)
        assert delivery.flush(DEADLINE_S)
        assert delivery.health().waiting_rows == 200
        broker.start()
        assert delivery.wait_delivered(DEADLINE_S)
        assert delivery.health().outages == 1
    assert windows(store) == list(range(400))


def test_results_wait_on_disk_until_there_is_an_ingest(broker: LocalBroker, tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    with Delivery("pump-7", settings(broker, tmp_path)) as delivery:
        for n in range(100):
            delivery.put(a_result(n), window_index=n)
        assert delivery.flush(DEADLINE_S)
        with an_ingest(broker, store):
            assert delivery.wait_delivered(DEADLINE_S)
    assert windows(store) == list(range(100))


def test_results_of_a_closed_delivery_go_out_at_the_next_start(
    broker: LocalBroker, tmp_path: Path
) -> None:
    store = tmp_path / "store.db"
    with Delivery("pump-7", settings(broker, tmp_path)) as delivery:
        for n in range(100):
            delivery.put(a_result(n), window_index=n)
    with an_ingest(broker, store), Delivery("pump-7", settings(broker, tmp_path)) as delivery:
        delivery.put(a_result(100), window_index=100)
        assert delivery.wait_delivered(DEADLINE_S)
    assert windows(store) == list(range(101))


def test_a_backlog_with_more_events_than_an_ack_can_name_arrives_without_a_pause(
    broker: LocalBroker, tmp_path: Path
) -> None:
    store = tmp_path / "store.db"
    # Nothing is sent again by time, so what no acknowledgement names would wait for ever.
    patient = replace(settings(broker, tmp_path), batch_rows=10, resend_after_s=3_600)
    with Delivery("pump-7", patient) as delivery:
        for n in range(300):
            delivery.put(a_result(n), window_index=n)
            delivery.event("drift", {"n": n})
        assert delivery.flush(DEADLINE_S)
        with an_ingest(broker, store):
            assert delivery.wait_delivered(DEADLINE_S)
    assert windows(store) == list(range(300))


def test_with_ack_broker_a_result_may_go_when_the_broker_answered(
    broker: LocalBroker, tmp_path: Path
) -> None:
    with Delivery("pump-7", settings(broker, tmp_path, ack="broker")) as delivery:
        for n in range(100):
            delivery.put(a_result(n), window_index=n)
        assert delivery.wait_delivered(DEADLINE_S)


def test_health_fields_that_json_does_not_have_do_not_stop_delivery(
    broker: LocalBroker, tmp_path: Path
) -> None:
    store = tmp_path / "store.db"
    strange = {"t": float("nan"), "path": Path("x"), "v": 7, "array": np.arange(2)}
    with an_ingest(broker, store):
        with Delivery("pump-7", settings(broker, tmp_path)) as delivery:
            delivery.set_health(strange)
            delivery.put(a_result(1))
            assert delivery.wait_delivered(DEADLINE_S)
        until(lambda: "t" in last_health(store))
        health = last_health(store)
    assert (health["t"], health["path"], health["v"]) == (None, "x", 1)
    assert health["array"] == [0, 1]


def test_a_device_that_is_closed_leaves_its_last_health_and_its_last_model(
    broker: LocalBroker, tmp_path: Path
) -> None:
    store = tmp_path / "store.db"
    # Within the interval of the health messages nothing but closing makes a device say it.
    patient = replace(settings(broker, tmp_path), health_interval_s=3_600)
    with an_ingest(broker, store):
        with Delivery("pump-7", patient) as delivery:
            until(lambda: bool(last_health(store)))
            assert last_health(store)["delivery"]["put"] == 0
            delivery.set_health({"windows": 1})
            delivery.put(a_result(1))
            assert delivery.wait_delivered(DEADLINE_S)
        until(lambda: "windows" in last_health(store) and not status(store)[0].online)
        (device,) = status(store)
    assert device.health["windows"] == 1
    assert (device.health["delivery"]["put"], device.health["delivery"]["waiting_rows"]) == (1, 0)
    assert device.model == "activity@3"


def test_of_several_models_the_state_names_the_one_that_answers_first_and_its_updates(
    broker: LocalBroker, tmp_path: Path
) -> None:
    store = tmp_path / "store.db"
    gated, updated = MODEL._replace(name="words"), MODEL._replace(version=4)
    with an_ingest(broker, store), Delivery("pump-7", settings(broker, tmp_path)) as delivery:
        for model in (MODEL, gated):
            delivery.put(a_result(1)._replace(model=model))
        assert delivery.wait_delivered(DEADLINE_S)
        until(lambda: [device.model for device in status(store)] == ["activity@3"])
        for model in (updated, gated):
            delivery.put(a_result(2)._replace(model=model))
        until(lambda: [device.model for device in status(store)] == ["activity@4"])


def test_a_row_that_the_ingest_cannot_read_does_not_stop_the_others(
    broker: LocalBroker, tmp_path: Path
) -> None:
    store = tmp_path / "store.db"
    with Delivery("pump-7", settings(broker, tmp_path)) as delivery:
        for n in range(60):
            delivery.put(a_result(n), window_index=n)
        assert delivery.flush(DEADLINE_S)
    with sqlite3.connect(tmp_path / "outbox.db") as db:
        db.execute(
            "UPDATE entries SET body = CAST(replace(replace(CAST(body AS TEXT), "
            "'\"start_s\":20.0', '\"start_s\":null'), '\"seq\":41,', '\"seq\":4\u20ac,') AS BLOB)"
        )
    db.close()
    with an_ingest(broker, store), Delivery("pump-7", settings(broker, tmp_path)) as delivery:
        for n in range(60, 70):
            delivery.put(a_result(n), window_index=n)
        assert delivery.wait_delivered(DEADLINE_S)
    assert windows(store) == [n for n in range(70) if n not in (20, 40)]
    kept = SQLiteStore(store)
    assert [(g["first"], g["last"], g["reason"]) for g in kept.gaps()] == [
        (21, 21, "refused by the store"), (41, 41, "damaged on disk"),
    ]  # fmt: skip
    assert any(b'"start_s":null' in letter["payload"] for letter in kept.letters())
    kept.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_health_says_that_the_thread_has_ended(tmp_path: Path) -> None:
    nowhere = Mqtt("mqtt://127.0.0.1:1", outbox=tmp_path / "outbox.db")
    with Delivery("pump-7", nowhere) as delivery:
        courier, thread = delivery._courier, delivery._thread
        assert courier is not None

        def end(timeout_s: float) -> None:
            raise SystemExit

        courier.pump = end  # type: ignore[method-assign]
        thread.join(DEADLINE_S)
        assert delivery.health().last_error == "the delivery's thread has ended"


def test_a_result_without_a_time_is_refused_where_it_is_put(tmp_path: Path) -> None:
    nowhere = Mqtt("mqtt://127.0.0.1:1", outbox=tmp_path / "outbox.db")
    with Delivery("pump-7", nowhere) as delivery:
        with pytest.raises(InputError, match="finite times"):
            delivery.put(a_result(1)._replace(end_s=float("inf")))
        with pytest.raises(InputError, match="window_index"):
            delivery.put(a_result(1), window_index=1.5)  # type: ignore[arg-type]
        delivery.put(a_result(1), window_index=np.int64(3))
        assert delivery.flush(DEADLINE_S)
        assert delivery.health().put == 1


def test_a_second_process_on_one_outbox_is_told_so(tmp_path: Path) -> None:
    nowhere = Mqtt("mqtt://127.0.0.1:1", outbox=tmp_path / "outbox.db")
    (tmp_path / "other.db").symlink_to(tmp_path / "outbox.db")
    by_another_name = Mqtt("mqtt://127.0.0.1:1", outbox=tmp_path / "other.db")
    for other in (nowhere, by_another_name):
        with Delivery("pump-7", nowhere), pytest.raises(OutboxError, match="another process uses"):
            Delivery("pump-7", other).start()


def test_without_a_broker_put_still_stores(tmp_path: Path) -> None:
    nowhere = Mqtt("mqtt://127.0.0.1:1", outbox=tmp_path / "outbox.db")
    with Delivery("pump-7", nowhere) as delivery:
        for n in range(50):
            delivery.put(a_result(n))
        assert delivery.flush(DEADLINE_S)
        health = delivery.health()
        assert (health.waiting_rows, health.connected) == (50, False)


def test_two_ingests_share_the_load_and_the_store(broker: LocalBroker, tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    with an_ingest(broker, store) as one, an_ingest(broker, store) as two:
        # An ingest that says hello later has everything sent again that is on its way.
        until(lambda: one.online and two.online)
        # Nothing is sent again by time, either.
        patient = replace(settings(broker, tmp_path), resend_after_s=3_600)
        with Delivery("pump-7", patient) as delivery:
            for n in range(300):
                delivery.put(a_result(n), window_index=n)
                if n % 30 == 29:
                    assert delivery.wait_delivered(DEADLINE_S)
    assert windows(store) == list(range(300))
    assert one.tally.rows + two.tally.rows == 300
    if broker.kind.name == "mosquitto":
        assert one.tally.duplicates + two.tally.duplicates == 0


def test_closing_does_not_wait_for_a_broker_that_cannot_be_reached(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        # Nobody accepts, so that once the queue is full every attempt to connect hangs.
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(server.getsockname())
        hanging = Mqtt(
            f"mqtt://127.0.0.1:{server.getsockname()[1]}",
            outbox=tmp_path / "outbox.db",
            connect_timeout_s=300.0,
        )
        with Delivery("pump-7", hanging) as delivery:
            delivery.put(a_result(1))
        with Delivery("pump-7", hanging) as delivery:
            assert delivery.health().waiting_rows == 1
        for sock in waiting:
            sock.close()


OVER_WEBSOCKETS = """
import asyncio, sys
from amqtt.broker import Broker

async def main():
    broker = Broker({
        "listeners": {"default": {"type": "ws", "bind": f"127.0.0.1:{sys.argv[1]}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }, loop=asyncio.get_running_loop())
    await broker.start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_websockets_carry_the_same(tmp_path: Path) -> None:
    pytest.importorskip("amqtt")
    # A format string is filled in with the port, so its own braces are doubled.
    script = OVER_WEBSOCKETS.replace("{", "{{").replace("}", "}}")
    kind = BrokerKind("websockets", (sys.executable, "-c", script, "{port}"))
    with LocalBroker(kind) as broker:
        over_websocket = Mqtt(
            f"ws://127.0.0.1:{broker.port}",
            outbox=tmp_path / "outbox.db",
            ack="broker",
            reconnect_min_s=0.1,
        )
        with Delivery("pump-7", over_websocket) as delivery:
            for n in range(100):
                delivery.put(a_result(n))
            assert delivery.wait_delivered(DEADLINE_S)
