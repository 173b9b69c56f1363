"""Waits for a socket, or for another thread that ends the wait."""

import contextlib
import select
import socket
from typing import Any


class Waker:
    """A pair of sockets, of which one is always waited for."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def wake(self) -> None:
        """End a `wait`; from any thread."""
        try:
            self._writer.send(b"\0")
        except (BlockingIOError, OSError):
            return  # a full pipe wakes just as well, and a closed one has nobody to wake

    def wait(self, sock: Any, *, to_write: bool, timeout_s: float) -> tuple[bool, bool]:
        """Whether the socket can be read and written, or nothing within the time; clears a wake."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        if sock is not None:
            try:
                poll.register(sock, select.POLLIN | (select.POLLOUT if to_write else 0))
            except (OSError, ValueError):
                return True, False  # closed under us: reading makes paho notice
        ready = dict(poll.poll(max(timeout_s, 0.0) * 1000))
        if ready.pop(self._reader.fileno(), 0):
            with contextlib.suppress(OSError):
                self._reader.recv(4096)
        flags = next(iter(ready.values()), 0)
        return bool(flags & ~select.POLLOUT), bool(flags & select.POLLOUT)

    def close(self) -> None:
        """Give the sockets back."""
        self._reader.close()
        self._writer.close()
