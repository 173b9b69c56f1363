"""Through firewalls that let only port 443 out: ALPN, and WebSocket in TLS."""

import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from edgeml.errors import ConfigError
from edgeml.fleet.localbroker import BrokerKind, LocalBroker, find_mosquitto, free_port
from edgeml.result import ModelRef, Result
from edgeml.sync import connection
from edgeml.sync.delivery import Delivery
from edgeml.sync.settings import Mqtt

MOSQUITTO = find_mosquitto()
pytestmark = [
    pytest.mark.skipif(
        MOSQUITTO is None or not shutil.which("openssl"), reason="needs mosquitto and openssl"
    ),
    pytest.mark.workstation,
]
DEADLINE_S = 300.0
FEW_S = 3.0
AWS = "x-amzn-mqtt-ca"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that is its own CA; the key is beside it."""
    home = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, cwd=home, check=True, capture_output=True)
    return home / "cert.pem"


class Front:
    """What stands at port 443 of a cloud: it ends TLS, and takes one ALPN name only.

    Args:
        certificate: shows it.
        alpn: the one name.
        port: of the broker behind.
    """

    def __init__(self, certificate: Path, alpn: str, port: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, certificate.with_name("key.pem"))
        self._context.set_alpn_protocols([alpn])
        self._alpn = alpn
        self._behind = port
        self._listener = socket.create_server(("localhost", 0))
        self.port: int = self._listener.getsockname()[1]
        self.asked: list[str | None] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError), self._context.wrap_socket(plain, server_side=True) as outside:
            self.asked.append(outside.selected_alpn_protocol())
            if self.asked[-1] != self._alpn:
                return
            with socket.create_connection(("localhost", self._behind)) as inside:
                ways = ((outside, inside), (inside, outside))
                threads = [threading.Thread(target=_pump, args=way) for way in ways]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def front(certificate: Path, alpn: str) -> Iterator[Front]:
    with LocalBroker(BrokerKind("mosquitto", (str(MOSQUITTO), "-p", "{port}"))) as broker:
        standing = Front(certificate, alpn, broker.port)
        try:
            yield standing
        finally:
            standing.close()


def deliver(settings: Mqtt, timeout_s: float = DEADLINE_S) -> bool:
    with Delivery("pump-7", settings) as delivery:
        for n in range(50):
            result = Result(ModelRef("m", 1, "00"), n, n + 1.0, "x", 0.5, (0.5,), 1.0, 1.0, 1.0)
            delivery.put(result)
        return delivery.wait_delivered(timeout_s)


def settings(url: str, tmp_path: Path, certificate: Path, alpn: str | None = None) -> Mqtt:
    return Mqtt(
        url, outbox=tmp_path / "outbox.db", ack="broker", ca_file=certificate, alpn=alpn,
        reconnect_min_s=0.1, reconnect_max_s=0.5,
    )  # fmt: skip


def test_on_port_443_mqtt_asks_for_itself(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with front(certificate, "mqtt") as standing:
        # The real one is for root only.
        monkeypatch.setattr(connection, "_ALPN_PORT", standing.port)
        assert deliver(settings(f"mqtts://localhost:{standing.port}", tmp_path, certificate))
        assert set(standing.asked) == {"mqtt"}


def test_a_name_may_be_given_and_without_the_right_one_nothing_is_delivered(
    tmp_path: Path, certificate: Path
) -> None:
    with front(certificate, AWS) as standing:
        url = f"mqtts://localhost:{standing.port}"
        assert not deliver(settings(url, tmp_path, certificate), FEW_S)
        assert standing.asked
        assert AWS not in standing.asked
        assert deliver(settings(url, tmp_path, certificate, alpn=AWS))
        assert standing.asked[-1] == AWS


def test_a_websocket_in_tls_carries_the_same(tmp_path: Path, certificate: Path) -> None:
    port = free_port()
    conf = tmp_path / "mosquitto.conf"
    # Mosquitto 2.0.11 does not start with a WebSocket alone; as root it gives up its rights
    # before it reads the key.
    conf.write_text(
        ("user root\n" if os.geteuid() == 0 else "")
        + f"allow_anonymous true\nlistener {free_port()} 127.0.0.1\n"
        f"listener {port}\nprotocol websockets\n"
        f"certfile {certificate}\nkeyfile {certificate.with_name('key.pem')}\n"
    )
    kind = BrokerKind("mosquitto", (str(MOSQUITTO), "-c", str(conf)))
    with LocalBroker(kind, port):
        assert deliver(settings(f"wss://localhost:{port}", tmp_path, certificate))
        by_another_name = settings(f"wss://127.0.0.1:{port}", tmp_path / "2", certificate)
        assert not deliver(by_another_name, FEW_S)


def test_a_name_without_tls_or_without_letters_is_refused() -> None:
    with pytest.raises(ConfigError, match="alpn do nothing"):
        Mqtt("mqtt://broker", alpn="mqtt")
    with pytest.raises(ConfigError, match="1 to 255 bytes"):
        Mqtt("mqtts://broker", alpn="")
