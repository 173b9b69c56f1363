"""Where published files come from: one protocol, a folder and a web server behind it.

A transport gives what is published under a name (`tuf/bundle`, `c/SHA256`), as
it is published; nothing that it gives is trusted. It gives up by itself after a
time, says nothing then, and whoever asks goes on to the next transport.
"""

import contextlib
import http.client
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from edgeml.errors import ConfigError

MAX_FILE_BYTES: Final = 20 << 20
_TRIES: Final = 3
_READ_BYTES: Final = 64 << 10
_LEAST_BYTES_PER_S: Final = 512
"""A server that is slower, once its time to answer is over, only keeps the device waiting."""
_FILE_S: Final = 600.0
"""A file takes no longer, whatever the server says it has; waiting for `max_bytes_per_s` apart."""


class Transport(Protocol):
    """A way to published files."""

    @property
    def name(self) -> str:
        """What it is called in messages: `http`, `folder`, `mqtt`."""
        ...

    @property
    def where(self) -> str:
        """Where it looks, for whoever wonders why nothing is there."""
        ...

    def fetch(self, names: Sequence[str], limit_bytes: int) -> Iterator[tuple[str, bytes]]:
        """Those of some files that can be had, in any order, as they come.

        Args:
            names: relative, as `edgeml.releases.names` makes them.
            limit_bytes: a longer file is given up.
        """
        ...

    def close(self) -> None:
        """Let go of any connection until the next fetch."""
        ...


class Folder:
    """A folder on this machine: a USB stick, a network drive."""

    name: Final = "folder"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def where(self) -> str:
        """The folder."""
        return f"the folder {self._folder}"

    def fetch(self, names: Sequence[str], limit_bytes: int) -> Iterator[tuple[str, bytes]]:
        """Those of some files that are there."""
        for name in names:
            with contextlib.suppress(OSError):
                data = _read(self._folder / name, limit_bytes + 1)
                if data is not None and len(data) <= limit_bytes:
                    yield name, data

    def close(self) -> None:
        """There is no connection."""


def _read(path: Path, most: int) -> bytes | None:
    """The beginning of a file; None of a pipe or a terminal, which may keep a reader for ever."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(most) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None


class Http:
    """A web server, over one connection that is kept, each file resumed where it broke off.

    Args:
        url: `http://` or `https://`, to the folder that was published.
        timeout_s: for each answer of the server.
        max_bytes_per_s: a bound on the rate; None for none.
        sleep: waits so many seconds.

    Raises:
        ConfigError: the URL is none of these.
    """

    name: Final = "http"

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 20.0,
        max_bytes_per_s: float | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"updates: {url!r} should begin with https:// or http:// and a host")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._rate = max_bytes_per_s
        self._sleep = sleep
        self._over_s = 0.0

    @property
    def where(self) -> str:
        """The address, without a password that may stand in it."""
        port = "" if self._port is None else f":{self._port}"
        return f"http{'s' * self._secure}://{self._host}{port}{self._path}"

    def fetch(self, names: Sequence[str], limit_bytes: int) -> Iterator[tuple[str, bytes]]:
        """Those of some files that the server gives."""
        with contextlib.closing(self._connection()) as connection:
            for name in names:
                data = self._one(connection, name, limit_bytes)
                if data is not None:
                    yield name, data

    def close(self) -> None:
        """Each fetch has a connection of its own."""

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=self._timeout_s)

    def _one(
        self, connection: http.client.HTTPConnection, name: str, limit_bytes: int
    ) -> bytes | None:
        got = bytearray()
        self._over_s = time.monotonic() + _FILE_S
        for _ in range(_TRIES):
            whole = self._try(got, connection, name, limit_bytes)
            if whole is not None or time.monotonic() >= self._over_s:
                return bytes(got) if whole else None
        return None

    def _try(
        self, got: bytearray, connection: http.client.HTTPConnection, name: str, limit_bytes: int
    ) -> bool | None:
        """Whether the file is whole now; None where the connection broke off."""
        try:
            return self._read_into(got, connection, name, limit_bytes)
        except (OSError, http.client.HTTPException):
            connection.close()
            return None

    def _read_into(
        self, got: bytearray, connection: http.client.HTTPConnection, name: str, limit_bytes: int
    ) -> bool:
        """Read on from where `got` ends; whether the file is whole."""
        headers = {"Range": f"bytes={len(got)}-"} if got else {}
        if connection.sock is None:
            connection.connect()
        # A response that ends with its connection takes the socket away from it.
        line: socket.socket = connection.sock
        with _ended_after(self._timeout_s, line):
            connection.request("GET", f"{self._path}/{name}", headers=headers)
            response = connection.getresponse()
        if response.status == http.client.OK:
            got.clear()  # a server that knows no ranges begins anew
        elif response.status != http.client.PARTIAL_CONTENT:
            with _ended_after(self._timeout_s, line):
                response.read(_READ_BYTES)
            return False
        block_s = self._timeout_s + _READ_BYTES / _LEAST_BYTES_PER_S
        while True:
            with _ended_after(min(block_s, self._over_s - time.monotonic()), line):
                part = response.read(_READ_BYTES)
            if not part:
                break
            got += part
            if len(got) > limit_bytes:
                connection.close()
                return False
            if self._rate is not None:
                self._over_s += len(part) / self._rate
                self._sleep(len(part) / self._rate)
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        return True


@contextlib.contextmanager
def _ended_after(seconds: float, line: socket.socket) -> Iterator[None]:
    """End a connection on which this takes longer, however steadily single bytes trickle in.

    Raises:
        TimeoutError: it did; what was read until then only looks like an end.
    """
    over = threading.Event()

    def end() -> None:
        over.set()
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if over.is_set():
        raise TimeoutError(f"took longer than {seconds:g} s")
