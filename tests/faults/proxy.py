"""A TCP proxy that knows enough MQTT to repeat and swap messages, and that tears lines.

It does so in both directions: results on their way to the broker and from it,
acknowledgements on their way back.
"""

import random
import select
import socket
import threading
from contextlib import suppress

_PUBLISH = 3
_SHARE = 0.1
_HELD_S = 0.1


class Proxy:
    """Stands between devices and broker.

    Args:
        target_port: where the broker listens on this machine.
        seed: what it does, and when, follows from it.
    """

    def __init__(self, target_port: int, seed: str) -> None:
        self._target_port = target_port
        self._rng = random.Random(seed)
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.doubled = 0
        self.swapped = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def tear(self) -> None:
        """Cut every line."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for sock in sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def close(self) -> None:
        """Take no more lines and cut those there are."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.tear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target_port), timeout=5)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._sockets |= {near, far}
            threading.Thread(target=self._mangle, args=(near, far), daemon=True).start()
            threading.Thread(target=self._mangle, args=(far, near), daemon=True).start()

    def _mangle(self, source: socket.socket, sink: socket.socket) -> None:
        buffer, held = b"", b""
        with suppress(OSError, ValueError):
            while True:
                if held and not select.select([source], [], [], _HELD_S)[0]:
                    sink.sendall(held)
                    held = b""
                chunk = source.recv(65536)
                if not chunk:
                    break
                buffer += chunk
                while packet := _first_packet(buffer):
                    buffer = buffer[len(packet) :]
                    if held:
                        self.swapped += 1
                        sink.sendall(packet + held)
                        held = b""
                    elif packet[0] >> 4 != _PUBLISH:
                        sink.sendall(packet)
                    elif self._rng.random() < _SHARE:
                        held = packet
                    elif self._rng.random() < _SHARE:
                        self.doubled += 1
                        sink.sendall(packet * 2)
                    else:
                        sink.sendall(packet)
        self._end(source, sink)

    def _end(self, *sockets: socket.socket) -> None:
        with self._lock:
            self._sockets -= set(sockets)
        for sock in sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


def _first_packet(buffer: bytes) -> bytes:
    """The first whole MQTT packet; empty where there is none yet."""
    length = shift = 0
    for at, byte in enumerate(buffer[1:5], 2):
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return buffer[: at + length] if len(buffer) >= at + length else b""
    return b""
