"""The broker that this machine has, as a child process: for demos and tests.

Mosquitto where it is installed, the embedded one where it is not. Nothing is
persisted: killed and started again it has forgotten everything, which is what
an outage looks like in a plant, too.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from edgeml.errors import LinkError, MissingDependencyError

_MORE_PATH: Final = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
_POLL_S: Final = 0.02
_PORTS: Final = range(10_240, 32_768)
"""Below those that systems give to whoever connects: a broker that is killed finds its port
free, and nobody who looks for it in the meantime is connected to himself."""
_PORT_TRIES: Final = 100


@dataclass(frozen=True, slots=True)
class BrokerKind:
    """A broker that can be started here: its name and the command, `{port}` to be filled in."""

    name: str
    command: tuple[str, ...]


def available() -> BrokerKind:
    """The broker to use on this machine: Mosquitto, else the embedded one.

    Raises:
        MissingDependencyError: there is neither; the message names both commands.
    """
    mosquitto = find_mosquitto()
    if mosquitto is not None:
        return BrokerKind("mosquitto", (str(mosquitto), "-p", "{port}"))
    if find_spec("amqtt") is not None:
        return embedded()
    raise MissingDependencyError(
        "this machine has no MQTT broker; install one: sudo apt install mosquitto, or: "
        "pip install amqtt"
    )


def embedded() -> BrokerKind:
    """The embedded broker, whether or not there is a better one."""
    return BrokerKind("embedded", (sys.executable, "-m", "edgeml", "broker", "--port", "{port}"))


def find_mosquitto() -> Path | None:
    """Where Mosquitto is: on the path or where Debian and Homebrew put it."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path=_MORE_PATH)
    return None if found is None else Path(found)


def free_port() -> int:
    """A TCP port that nothing on this machine listens on, and no connection gets by chance.

    Raises:
        LinkError: none was found.
    """
    for _ in range(_PORT_TRIES):
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise LinkError(f"no free port found on this machine in {_PORT_TRIES} tries")


class LocalBroker:
    """A broker on this machine's loopback, started, killed and started again at will.

    Args:
        kind: which one; by default `available()`.
        port: where it listens; by default a free one.
        arguments: more arguments for the command.
        log: where its output goes; by default nowhere.
    """

    def __init__(
        self,
        kind: BrokerKind | None = None,
        port: int | None = None,
        *,
        arguments: Sequence[str] = (),
        log: IO[bytes] | None = None,
    ) -> None:
        self.kind = available() if kind is None else kind
        self.port = free_port() if port is None else port
        self._arguments = tuple(arguments)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "LocalBroker":
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it can be reached."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process, while it runs; 0 otherwise."""
        return 0 if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = 120.0) -> None:
        """Start it and wait until it accepts connections.

        Raises:
            LinkError: it ended, or it did not listen in time.
        """
        command = [part.format(port=self.port) for part in self.kind.command]
        output = subprocess.DEVNULL if self._log is None else self._log
        self._process = subprocess.Popen(
            [*command, *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        deadline_s = time.monotonic() + timeout_s
        while not self._listens():
            status = self._process.poll()
            if status is not None:
                raise LinkError(
                    f"{self.kind.name} ended with status {status}; port {self.port} may be taken"
                )
            if time.monotonic() > deadline_s:
                self.kill()
                raise LinkError(
                    f"{self.kind.name} did not listen on port {self.port} in {timeout_s:g} s"
                )
            time.sleep(_POLL_S)

    def kill(self) -> None:
        """End it without warning, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
                return True
        except OSError:
            return False
