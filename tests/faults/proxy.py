"""A TCP proxy that knows enough MQTT to repeat and swap messages, and that tears lines."""

import random
import socket
import threading
from contextlib import suppress

_PUBLISH_QOS1 = 0x32
_TYPE_AND_QOS = 0xF6


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
            threading.Thread(target=self._copy, args=(far, near), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                sink.sendall(chunk)
        self._end(source, sink)

    def _mangle(self, source: socket.socket, sink: socket.socket) -> None:
        buffer, held = b"", b""
        with suppress(OSError):
            while True:
                source.settimeout(0.1 if held else None)
                try:
                    chunk = source.recv(65536)
                except TimeoutError:
                    sink.sendall(held)
                    held = b""
                    continue
                if not chunk:
                    break
                buffer += chunk
                while packet := _first_packet(buffer):
                    buffer = buffer[len(packet) :]
                    if held:
                        sink.sendall(packet + held)
                        held = b""
                    elif packet[0] & _TYPE_AND_QOS != _PUBLISH_QOS1:
                        sink.sendall(packet)
                    elif self._rng.random() < 0.1:
                        held = packet
                    else:
                        sink.sendall(packet * (2 if self._rng.random() < 0.1 else 1))
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
