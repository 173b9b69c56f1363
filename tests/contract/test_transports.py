"""What every transport of updates does: it gives what is published, and gives up in time."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edgeml.errors import ConfigError
from edgeml.ota.transport import Folder, Http, Transport

FILES = {"tuf/timestamp": b"{}", "tuf/bundle": b"x" * 5000, f"c/{'ab' * 32}": bytes(range(256))}


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any, **__: Any) -> None:
        return None


@pytest.fixture
def published(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "published" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "published"


def _serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join(5)
    server.server_close()


@pytest.fixture
def web(published: Path) -> Iterator[str]:
    yield from _serving(partial(_Quiet, directory=str(published)))


@pytest.fixture(params=["folder", "http"])
def transport(request: pytest.FixtureRequest, published: Path) -> Transport:
    if request.param == "folder":
        return Folder(published)
    return Http(request.getfixturevalue("web"))


def test_what_is_published_comes_as_it_was_published(transport: Transport) -> None:
    assert dict(transport.fetch(list(FILES), 1 << 20)) == FILES


def test_what_is_not_published_does_not_come_and_the_rest_does(transport: Transport) -> None:
    wanted = ["tuf/timestamp", f"c/{'00' * 32}", "tuf/bundle"]
    got = dict(transport.fetch(wanted, 1 << 20))
    assert got == {name: FILES[name] for name in ("tuf/timestamp", "tuf/bundle")}


def test_a_file_that_does_not_end_is_given_up(transport: Transport) -> None:
    got = dict(transport.fetch(["tuf/bundle", "tuf/timestamp"], 100))
    assert got == {"tuf/timestamp": b"{}"}


def test_a_place_that_is_not_there_gives_nothing(tmp_path: Path, transport: Transport) -> None:
    gone = (
        Folder(tmp_path / "no stick") if transport.name == "folder" else Http("http://127.0.0.1:9")
    )
    assert list(gone.fetch(list(FILES), 1 << 20)) == []


def test_names_are_short_and_stable(transport: Transport) -> None:
    assert transport.name in ("folder", "http")


class _Breaking(BaseHTTPRequestHandler):
    """Ends the connection after 1,000 bytes, and goes on from where it is asked to."""

    protocol_version = "HTTP/1.1"
    asked: list[str]

    def do_GET(self) -> None:
        data = FILES["tuf/bundle"]
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.asked.append(self.headers["Range"] or "")
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : start + 2000])
        if start + 2000 < len(data):
            self.close_connection = True

    def log_message(self, *_: Any, **__: Any) -> None:
        return None


def test_a_web_server_that_breaks_off_is_asked_for_the_rest_only() -> None:
    asked: list[str] = []
    handler = type("Handler", (_Breaking,), {"asked": asked})
    for url in _serving(handler):
        assert dict(Http(url).fetch(["tuf/bundle"], 1 << 20)) == {"tuf/bundle": FILES["tuf/bundle"]}
    assert asked == ["", "bytes=2000-", "bytes=4000-"]


def test_the_rate_of_a_web_server_is_kept_by_waiting(web: str) -> None:
    waited: list[float] = []
    http = Http(web, max_bytes_per_s=1000, sleep=waited.append)
    assert dict(http.fetch(["tuf/bundle"], 1 << 20))
    assert sum(waited) == pytest.approx(5.0)


@pytest.mark.parametrize("url", ["ftp://host/x", "host", "file:///etc", "http://"])
def test_an_address_that_is_no_web_server_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="should begin with https://"):
        Http(url)
