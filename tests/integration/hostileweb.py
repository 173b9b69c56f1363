"""A web server that gives what it is told to give, or keeps its client waiting for ever."""

import contextlib
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Trickle:
    """An answer that never ends: so many bytes at a time, so long apart."""

    def __init__(self, first: bytes, then: bytes, every_s: float) -> None:
        self.first, self.then, self.every_s = first, then, every_s


def web_server(files: Mapping[str, bytes], trickle: Mapping[str, Trickle]) -> ThreadingHTTPServer:
    """On a free port; `trickle` says which names, by their beginning, are answered so."""
    over = threading.Event()

    class Hostile(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            for start, endless in trickle.items():
                if name.startswith(start):
                    self._trickle(endless)
                    return
            data = files.get(name)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def _trickle(self, endless: Trickle) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.wfile.write(endless.first)
                while not over.wait(endless.every_s):
                    self.wfile.write(endless.then)

        def log_message(self, *_: Any, **__: Any) -> None:
            return None

    class Server(ThreadingHTTPServer):
        def server_close(self) -> None:
            over.set()
            super().server_close()

    return Server(("127.0.0.1", 0), Hostile)
