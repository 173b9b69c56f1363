"""The same delivery over every kind of line, with a real Mosquitto and real certificates.

WebSocket, WebSocket in TLS, and TLS on the port of HTTPS, where a listener
tells MQTT from the web by ALPN.
"""

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edgeml.fleet.localbroker import BrokerKind, LocalBroker, find_mosquitto, free_port
from edgeml.fleet.sqlite_store import SQLiteStore
from edgeml.result import ModelRef, Result
from edgeml.sync import connection
from edgeml.sync.connection import Connection
from edgeml.sync.delivery import Delivery
from edgeml.sync.settings import Mqtt
from tests.ingesting import ingesting
from tests.pki import make_pki
from tests.waiting import until

MOSQUITTO = find_mosquitto()
pytestmark = [
    pytest.mark.skipif(
        MOSQUITTO is None or not shutil.which("openssl"), reason="needs mosquitto and openssl"
    ),
    pytest.mark.workstation,
]
DEADLINE_S = 300.0
ROWS = 2_000


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("pki")
    make_pki(home)
    return home


class Listeners(LocalBroker):
    """A Mosquitto that listens in three ways: plain, WebSocket, WebSocket in TLS."""

    def __init__(self, home: Path, pki: Path) -> None:
        port, self.ws_port, self.wss_port = free_port(), free_port(), free_port()
        tls = f"certfile {pki / 'localhost.pem'}\nkeyfile {pki / 'localhost.key'}\n"
        user = "user root\n"  # only heeded where the tests run as root, who owns the key
        (home / "mosquitto.conf").write_text(
            f"{user}allow_anonymous true\nlistener {port} 127.0.0.1\n"
            f"listener {self.ws_port} 127.0.0.1\nprotocol websockets\n"
            f"listener {self.wss_port} 127.0.0.1\nprotocol websockets\n{tls}"
        )
        command = (str(MOSQUITTO), "-c", str(home / "mosquitto.conf"))
        super().__init__(BrokerKind("mosquitto", command), port)


class Front:
    """What stands on port 443 of a cloud: takes TLS, and lets through by one ALPN name alone."""

    def __init__(self, pki: Path, behind: int, takes: str = "mqtt") -> None:
        self.chosen: list[str | None] = []
        self._takes = takes
        self._behind = behind
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pki / "localhost.pem", pki / "localhost.key")
        self._context.set_alpn_protocols(["http/1.1", takes])
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                raw, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        with suppress(OSError), self._context.wrap_socket(raw, server_side=True) as outside:
            self.chosen.append(outside.selected_alpn_protocol())
            if self.chosen[-1] != self._takes:
                return
            with socket.create_connection(("127.0.0.1", self._behind)) as inside:
                back = threading.Thread(target=_pour, args=(inside, outside), daemon=True)
                back.start()
                _pour(outside, inside)
                inside.shutdown(socket.SHUT_RDWR)
                back.join()


def _pour(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


@pytest.fixture
def broker(tmp_path: Path, pki: Path) -> Iterator[Listeners]:
    running = Listeners(tmp_path, pki)
    with running:
        yield running


def deliver(url: str, ca_file: Path | None, home: Path, alpn: str | None = None) -> list[int]:
    """Which windows are in the store after a device delivered over this line, and an ingest too."""
    store = SQLiteStore(home / "store.db")
    line = Connection(url, ca_file=ca_file, alpn=alpn)
    settings = Mqtt(
        url, "plant", outbox=home / "outbox.db", ca_file=ca_file, alpn=alpn, reconnect_min_s=0.1
    )
    with ingesting(line, store), Delivery("pump-7", settings) as delivery:
        for n in range(ROWS):
            row = Result(ModelRef("m", 1, "00"), n, n + 1.0, "x", 0.5, (0.5,), 1.0, 1.0, 1.0)
            delivery.put(row, window_index=n)
        assert delivery.wait_delivered(DEADLINE_S), delivery.health()
        return [row["window"] for row in store.results("pump-7")]


def test_results_arrive_over_a_websocket(broker: Listeners, tmp_path: Path) -> None:
    url = f"ws://localhost:{broker.ws_port}"
    assert deliver(url, None, tmp_path) == list(range(ROWS))


def test_results_arrive_over_a_websocket_in_tls(
    broker: Listeners, pki: Path, tmp_path: Path
) -> None:
    url = f"wss://localhost:{broker.wss_port}/mqtt"
    assert deliver(url, pki / "ca.pem", tmp_path) == list(range(ROWS))


def test_a_websocket_whose_certificate_nobody_vouches_for_is_not_used(
    broker: Listeners, tmp_path: Path
) -> None:
    url = f"wss://localhost:{broker.wss_port}/mqtt"
    settings = Mqtt(url, "plant", outbox=tmp_path / "outbox.db", reconnect_min_s=0.1)
    with Delivery("pump-7", settings) as delivery:
        # This listener may open after the broker's first one, and be refused until then.
        until(lambda: "certificate" in str(delivery.health().last_error))


def test_on_the_port_of_https_a_line_says_by_alpn_that_it_is_mqtt(
    broker: Listeners, pki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = Front(pki, broker.port)
    monkeypatch.setattr(connection, "_ALPN_PORT", front.port)
    url = f"mqtts://localhost:{front.port}"
    try:
        assert deliver(url, pki / "ca.pem", tmp_path) == list(range(ROWS))
    finally:
        front.close()
    assert set(front.chosen) == {"mqtt"}


def test_a_cloud_that_wants_another_name_is_told_it(
    broker: Listeners, pki: Path, tmp_path: Path
) -> None:
    front = Front(pki, broker.port, takes="x-amzn-mqtt-ca")
    url = f"mqtts://localhost:{front.port}"
    try:
        stored = deliver(url, pki / "ca.pem", tmp_path, alpn="x-amzn-mqtt-ca")
    finally:
        front.close()
    assert stored == list(range(ROWS))
    assert set(front.chosen) == {"x-amzn-mqtt-ca"}
