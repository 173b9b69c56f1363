"""The brokers of the matrix, each a real server from the system's packages, with a home of its own.

NATS and RabbitMQ want their settings in files and the Erlang machine wants a
name service beside it, so this module writes the one and starts the other. What
a server keeps on disk stays in its home, over any number of kills and starts.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeml.fleet.localbroker import BrokerKind, LocalBroker, embedded, find_mosquitto, free_port

NAMES = ("mosquitto", "nats", "rabbitmq", "embedded")
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START_S = 120.0


@dataclass(frozen=True)
class Server:
    """A broker of the matrix: what it is called and the process."""

    name: str
    process: LocalBroker

    @property
    def url(self) -> str:
        return self.process.url

    @property
    def port(self) -> int:
        return self.process.port

    def kill(self) -> None:
        self.process.kill()

    def start(self) -> None:
        self.process.start(START_S)


@contextlib.contextmanager
def serve(name: str, home: Path) -> Iterator[Server]:
    """The broker of that name, until the end of the block."""
    with contextlib.ExitStack() as stack:
        server = Server(name, LocalBroker(_KINDS[name](home, stack), free_port()))
        server.start()
        stack.callback(server.kill)
        yield server


def _mosquitto(home: Path, stack: contextlib.ExitStack) -> BrokerKind:
    found = find_mosquitto()
    if found is None:
        pytest.skip("needs Mosquitto; make brokers installs it")
    return BrokerKind("mosquitto", (str(found), "-p", "{port}"))


def _embedded(home: Path, stack: contextlib.ExitStack) -> BrokerKind:
    pytest.importorskip("amqtt")
    return embedded()


def _nats(home: Path, stack: contextlib.ExitStack) -> BrokerKind:
    found = shutil.which("nats-server", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip("needs nats-server; make brokers installs it")
    # The gateway's port can only be given in the file, so the file is written when it is known.
    config = home / "nats.conf"
    write_and_run = (
        "import os, pathlib, sys; "
        f"pathlib.Path({str(config)!r}).write_text({_NATS_CONF!r}.replace('MQTT_PORT', sys.argv[1])"
        f".replace('NATS_PORT', '{free_port()}').replace('HOME', {str(home)!r})); "
        f"os.execv({found!r}, [{found!r}, '-c', {str(config)!r}])"
    )
    return _through_python("nats", write_and_run)


def _rabbitmq(home: Path, stack: contextlib.ExitStack) -> BrokerKind:
    epmd = shutil.which("epmd")
    if not RABBITMQ.exists() or epmd is None:
        pytest.skip("needs rabbitmq-server; make brokers installs it")
    names_port = free_port()
    names = subprocess.Popen([epmd, "-address", "127.0.0.1", "-port", str(names_port)])
    stack.callback(names.wait)
    stack.callback(names.kill)
    _wait_for(names_port)
    (home / "enabled_plugins").write_text("[rabbitmq_mqtt].\n")
    environment = {
        "HOME": str(home),
        "ERL_EPMD_PORT": str(names_port),
        "RABBITMQ_NODENAME": f"edgeml{names_port}@localhost",
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
        "RABBITMQ_NODE_PORT": str(free_port()),
        "RABBITMQ_DIST_PORT": str(free_port()),
        # So that the script becomes the Erlang machine instead of minding it: one process to kill.
        "RABBITMQ_ALLOW_INPUT": "1",
        "RABBITMQ_SERVER_START_ARGS": "-noinput",
    }
    config = home / "rabbitmq.conf"
    write_and_run = (
        "import os, pathlib, sys; "
        f"pathlib.Path({str(config)!r}).write_text({_RABBITMQ_CONF!r}"
        ".replace('MQTT_PORT', sys.argv[1])"
        f".replace('AMQP_PORT', {environment['RABBITMQ_NODE_PORT']!r})); "
        f"os.environ.update({environment!r}); "
        f"os.execv({str(RABBITMQ)!r}, [{str(RABBITMQ)!r}])"
    )
    return _through_python("rabbitmq", write_and_run)


def _through_python(name: str, script: str) -> BrokerKind:
    # A format string is filled in with the port, so its own braces are doubled.
    doubled = script.replace("{", "{{").replace("}", "}}")
    return BrokerKind(name, (sys.executable, "-c", doubled, "{port}"))


def _wait_for(port: int) -> None:
    deadline_s = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        assert time.monotonic() < deadline_s, f"nothing listens on port {port}"
        time.sleep(0.02)


_NATS_CONF = """\
listen: "127.0.0.1:NATS_PORT"
server_name: edgeml
jetstream { store_dir: "HOME/jetstream", max_memory_store: 64MB, max_file_store: 1GB }
mqtt { listen: "127.0.0.1:MQTT_PORT" }
"""

_RABBITMQ_CONF = """\
listeners.tcp.1 = 127.0.0.1:AMQP_PORT
mqtt.listeners.tcp.1 = 127.0.0.1:MQTT_PORT
mqtt.allow_anonymous = true
"""

_KINDS = {
    "mosquitto": _mosquitto,
    "nats": _nats,
    "rabbitmq": _rabbitmq,
    "embedded": _embedded,
}
