"""A broker that gives everybody what they ask for, a byte at a time, and never to its end."""

import contextlib
import socketserver
import threading
from collections.abc import Iterator

_CONNECT, _SUBSCRIBE = 1, 8
_EVERY_S = 0.01
_PROMISED = b"\xe0\xd4\x03"
"""60,000 bytes, as MQTT writes a length."""


class _Trickle(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        level = 5
        with contextlib.suppress(OSError, EOFError):
            while True:
                kind, body = self._packet()
                if kind == _CONNECT:
                    level = body[6]  # behind the name of the protocol
                    self.wfile.write(b"\x20\x03\0\0\0" if level == 5 else b"\x20\x02\0\0")
                elif kind == _SUBSCRIBE:
                    self._give(body, level)

    def _packet(self) -> tuple[int, bytes]:
        first, length, shift = self._read(1)[0], 0, 0
        while True:
            byte = self._read(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first >> 4, self._read(length)

    def _read(self, count: int) -> bytes:
        data = self.rfile.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def _give(self, body: bytes, level: int) -> None:
        """Agree to a subscription of one topic, then begin with its message."""
        number, rest = body[:2], body[2 + (level == 5) :]
        topic = rest[2 : 2 + int.from_bytes(rest[:2], "big")]
        agreed = number + (b"\0" if level == 5 else b"") + b"\0"
        self.wfile.write(b"\x90" + bytes([len(agreed)]) + agreed)
        self.wfile.write(b"\x31" + _PROMISED + len(topic).to_bytes(2, "big") + topic)
        self.wfile.write(b"\0" if level == 5 else b"")
        server = self.server
        assert isinstance(server, TricklingBroker)
        while not server.over.wait(_EVERY_S):
            self.wfile.write(b"x")
            server.given += 1


class TricklingBroker(socketserver.ThreadingTCPServer):
    """On a free port, until it is left."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Trickle)
        self.over = threading.Event()
        self.given = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"mqtt://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def trickling() -> Iterator[TricklingBroker]:
    """One that runs."""
    with TricklingBroker() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join(5)
