"""A real Mosquitto with TLS, passwords and the generated access list: each to their own."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edgeml.cli.main import main
from edgeml.fleet.conductor import filters as rollout_filters
from edgeml.fleet.localbroker import BrokerKind, LocalBroker, find_mosquitto, free_port
from edgeml.fleet.repo.publish import Outgoing, Record
from edgeml.fleet.repo.repository import Repository
from edgeml.fleet.repo.seed import Seeder
from edgeml.fleet.sqlite_store import SQLiteStore
from edgeml.result import ModelRef, Result
from edgeml.sync.connection import Connection
from edgeml.sync.delivery import Delivery
from edgeml.sync.line import Message, Published, Received
from edgeml.sync.link import Link
from edgeml.sync.settings import Mqtt
from tests.ingesting import ingesting
from tests.pki import make_pki
from tests.waiting import until

MOSQUITTO = find_mosquitto()
pytestmark = [
    pytest.mark.skipif(
        MOSQUITTO is None or not shutil.which("mosquitto_passwd") or not shutil.which("openssl"),
        reason="needs mosquitto, mosquitto_passwd and openssl",
    ),
    pytest.mark.workstation,
]
USERS = ("pump-7", "pump-8", "ingest", "publisher")
DEADLINE_S = 300.0
REFUSALS = ("refused", "lost")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, a broker's certificate for localhost, a device's, and passwords."""
    home = tmp_path_factory.mktemp("pki")
    make_pki(home, "pump-7")
    for user in USERS:
        secret = home / f"{user}.password"
        secret.write_text(f"{user}-secret\n")
        secret.chmod(0o600)
    return home


class Guarded(LocalBroker):
    """Mosquitto as `edgeml fleet mosquitto-acl` configures it."""

    def __init__(self, home: Path, pki: Path, *options: str) -> None:
        port = free_port()
        data = home / "data"
        data.mkdir()
        status = main([
            "fleet", "mosquitto-acl", "--fleet", "plant", "-o", str(home), "--port", str(port),
            "--ca-file", str(pki / "ca.pem"), "--cert-file", str(pki / "localhost.pem"),
            "--key-file", str(pki / "localhost.key"), "--data-directory", str(data), *options,
        ])  # fmt: skip
        assert status == 0
        for n, user in enumerate(USERS):
            create = ("-c",) if n == 0 else ()
            command = [
                "mosquitto_passwd",
                *create,
                "-b",
                str(home / "passwords"),
                user,
                f"{user}-secret",
            ]
            subprocess.run(command, check=True, capture_output=True)
        conf = home / "mosquitto.conf"
        if os.geteuid() == 0:
            conf.write_text(f"user root\n{conf.read_text()}")
        self.log_path = home / "broker.log"
        super().__init__(
            BrokerKind("mosquitto", (str(MOSQUITTO), "-c", str(conf))),
            port,
            log=self.log_path.open("wb"),
        )

    @property
    def url(self) -> str:
        return f"mqtts://localhost:{self.port}"


@pytest.fixture
def broker(tmp_path: Path, pki: Path) -> Iterator[Guarded]:
    running = Guarded(tmp_path, pki)
    with running:
        yield running


def connection(broker: Guarded, pki: Path, user: str) -> Connection:
    return Connection(
        broker.url, username=user, password_file=pki / f"{user}.password", ca_file=pki / "ca.pem",
        reconnect_min_s=0.1, reconnect_max_s=0.5,
    )  # fmt: skip


def mqtt(broker: Guarded, pki: Path, tmp_path: Path, user: str) -> Mqtt:
    return Mqtt(
        broker.url, "plant", outbox=tmp_path / f"{user}.db", username=user,
        password_file=pki / f"{user}.password", ca_file=pki / "ca.pem",
        reconnect_min_s=0.1, reconnect_max_s=0.5,
    )  # fmt: skip


def a_result(n: int) -> Result:
    return Result(ModelRef("m", 1, "00"), n, n + 1.0, "x", 0.5, (0.5,), 1.0, 1.0, 1.0)


def test_results_arrive_through_tls_passwords_and_the_access_list(
    broker: Guarded, pki: Path, tmp_path: Path
) -> None:
    store = SQLiteStore(tmp_path / "store.db")
    with (
        ingesting(connection(broker, pki, "ingest"), store),
        Delivery("pump-7", mqtt(broker, pki, tmp_path, "pump-7")) as delivery,
    ):
        for n in range(100):
            delivery.put(a_result(n), window_index=n)
        assert delivery.wait_delivered(DEADLINE_S)
        assert [row["window"] for row in store.results("pump-7")] == list(range(100))


def test_a_device_that_writes_under_another_id_is_refused_and_seen(
    broker: Guarded, pki: Path
) -> None:
    answers: dict[int, ReasonCode] = {}
    answered = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.tls_set(str(pki / "ca.pem"))
    client.username_pw_set("pump-7", "pump-7-secret")

    def on_publish(_c: Client, _u: object, mid: int, reason: ReasonCode, _p: object) -> None:
        answers[mid] = reason
        if len(answers) == 4:
            answered.set()

    client.on_publish = on_publish
    client.connect("localhost", broker.port)
    client.loop_start()
    attempts = {
        "edgeml/1/plant/d/pump-7/results": False,
        "edgeml/1/plant/d/pump-8/results": True,
        "edgeml/1/plant/d/pump-7/ack": True,
        "edgeml/1/plant/c/00": True,
    }
    mids = {client.publish(topic, b"{}", qos=1).mid: refused for topic, refused in attempts.items()}
    assert answered.wait(DEADLINE_S)
    client.disconnect()
    client.loop_stop()
    assert {mid: reason.is_failure for mid, reason in answers.items()} == mids
    broker.stop()
    log = broker.log_path.read_text()
    assert "Denied PUBLISH" in log
    assert "d/pump-8/results" in log


def test_a_delivery_under_a_foreign_name_delivers_nothing_and_says_why(
    broker: Guarded, pki: Path, tmp_path: Path
) -> None:
    with Delivery("pump-8", mqtt(broker, pki, tmp_path, "pump-7")) as delivery:
        delivery.put(a_result(1))
        until(lambda: any(word in (delivery.health().last_error or "") for word in REFUSALS))
        assert delivery.flush(DEADLINE_S)
        assert delivery.health().waiting_rows == 1


@pytest.mark.parametrize("wrong", ["password", "authority", "host"])
def test_a_line_that_is_not_what_it_should_be_is_not_used(
    broker: Guarded, pki: Path, tmp_path: Path, wrong: str
) -> None:
    settings = mqtt(broker, pki, tmp_path, "pump-7")
    mistakes: dict[str, dict[str, Any]] = {
        "password": {"username": "pump-8"},
        "authority": {"ca_file": pki / "pump-7.pem"},
        "host": {"url": f"mqtts://127.0.0.1:{broker.port}"},
    }
    values: dict[str, Any] = {
        name: getattr(settings, name) for name in ("url", "fleet", "outbox", "username", "ca_file")
    }
    settings = Mqtt(**(values | mistakes[wrong]), password_file=pki / "pump-7.password")
    with Delivery("pump-7", settings) as delivery:
        delivery.put(a_result(1))
        until(lambda: delivery.health().last_error is not None)
        assert not delivery.health().connected


def test_a_certificate_can_be_the_devices_name(pki: Path, tmp_path: Path) -> None:
    with Guarded(tmp_path, pki, "--client-certificates") as broker:
        settings = Mqtt(
            broker.url, "plant", outbox=tmp_path / "pump-7.db", ack="broker",
            ca_file=pki / "ca.pem", cert_file=pki / "pump-7.pem",
            key_file=pki / "pump-7.key", protocol="5", reconnect_min_s=0.1, reconnect_max_s=0.5,
        )  # fmt: skip
        with Delivery("pump-7", settings) as delivery:
            delivery.put(a_result(1))
            assert delivery.wait_delivered(DEADLINE_S)
            assert delivery.health().mqtt5


def test_updates_pass_the_access_list_from_the_publisher_and_from_nobody_else(
    broker: Guarded, pki: Path, tmp_path: Path
) -> None:
    repository = Repository(tmp_path / "repo")
    repository.create()
    names = ("tuf/timestamp", "c/" + "0" * 64, "want/" + "0" * 64)

    def through(
        user: str, *filters: str, say: tuple[str, ...] = (), expect: str | None = None
    ) -> tuple[set[str], set[str]]:
        """What a user hears, that among it, and which of the topics it may write."""
        link = Link(connection(broker, pki, user), f"test-{user}", lambda _: filters)
        link.open()
        heard: set[str] = set()
        waiting: dict[int, str] = {}
        allowed: set[str] = set()
        give_up_s = time.monotonic() + DEADLINE_S
        said = False
        while not said or waiting or (expect is not None and expect not in heard):
            assert time.monotonic() < give_up_s
            if link.online and not said:
                said = True
                waiting = {
                    link.publish(Message(f"edgeml/1/plant/{name}", b"x", retain=True)): name
                    for name in say
                }
            for event in link.step(0.1):
                if isinstance(event, Received):
                    heard.add(event.topic.removeprefix("edgeml/1/plant/"))
                elif isinstance(event, Published):
                    name = waiting.pop(event.token)
                    allowed |= set() if event.refused else {name}
        link.close()
        return heard, allowed

    seeder = Seeder(connection(broker, pki, "publisher"), "plant")
    with repository.open() as ledger:
        record = Record.of(repository.folder, broker.url, "plant")
        seeder.publish(Outgoing(ledger, time.time()), record)
    seeder.close()
    heard, allowed = through(
        "pump-7", "edgeml/1/plant/tuf/timestamp", say=names, expect="tuf/timestamp"
    )
    assert "tuf/timestamp" in heard
    assert allowed == {names[2]}
    _, allowed = through("ingest", say=names)
    assert not allowed & set(names[:2])
    through("pump-7", say=("d/pump-7/state",))
    heard, allowed = through(
        "publisher", *rollout_filters("plant"), say=("d/pump-7/state",), expect="d/pump-7/state"
    )
    assert not allowed
    assert "d/pump-7/state" in heard
