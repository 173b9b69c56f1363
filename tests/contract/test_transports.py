"""What every transport of updates does: it gives what is published, and gives up in time."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edgeml.clock import ManualClock, SystemClock
from edgeml.errors import ConfigError
from edgeml.fleet import addresses
from edgeml.fleet.localbroker import LocalBroker, free_port
from edgeml.ota.mqtt import WINDOW, Broker
from edgeml.ota.transport import Folder, Http, Transport
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.line import LinkEvent, Message, Published, Received, Up
from edgeml.sync.link import Link
from edgeml.sync.shelf import Shelf
from tests.waiting import DEADLINE_S

from .tricklingbroker import trickling

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


@pytest.fixture
def broker(published: Path) -> Iterator[LocalBroker]:
    with LocalBroker() as broker:
        retain(broker.url, {topics.published("plant", name): FILES[name] for name in FILES})
        yield broker


def retain(url: str, messages: Mapping[str, bytes]) -> None:
    """Leave messages at a broker."""
    link = Link(Connection(url), "publisher")
    link.open()
    tokens: set[int] = set()
    for event in steps(link):
        if isinstance(event, Up):
            publish = (Message(topic, data, retain=True) for topic, data in messages.items())
            tokens = {link.publish(message) for message in publish}
        elif isinstance(event, Published):
            tokens.discard(event.token)
            if not tokens:
                break
    link.close()


def steps(link: Link) -> Iterator[LinkEvent]:
    give_up_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < give_up_s:
        yield from link.step(0.2)
    raise AssertionError("the broker did not do it in time")


def at_broker(url: str, **patience: float) -> Broker:
    connection = Connection(url, reconnect_min_s=0.05, reconnect_max_s=0.2)
    limits = {"connect_s": DEADLINE_S, "silence_s": 2.0, **patience}
    return Broker(Shelf(connection, "plant", "pump-7-updates"), SystemClock(), **limits)


@pytest.fixture(params=["folder", "http", "mqtt"])
def transport(request: pytest.FixtureRequest, published: Path) -> Iterator[Transport]:
    made: Transport = Folder(published)
    if request.param == "http":
        made = Http(request.getfixturevalue("web"))
    elif request.param == "mqtt":
        made = at_broker(request.getfixturevalue("broker").url)
    yield made
    made.close()


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
    places: dict[str, Transport] = {
        "folder": Folder(tmp_path / "no stick"),
        "http": Http("http://127.0.0.1:9"),
        "mqtt": at_broker(f"mqtt://127.0.0.1:{free_port()}", connect_s=0.3),
    }
    assert list(places[transport.name].fetch(list(FILES), 1 << 20)) == []


def test_names_are_short_and_stable(transport: Transport) -> None:
    assert transport.name in ("folder", "http", "mqtt")
    assert transport.where


def test_it_can_be_closed_and_used_again(transport: Transport) -> None:
    for _ in range(3):
        assert dict(transport.fetch(["tuf/timestamp"], 100)) == {"tuf/timestamp": b"{}"}
        transport.close()


def test_a_pipe_or_a_folder_on_a_stick_is_no_file_and_is_not_waited_for(published: Path) -> None:
    (published / "tuf/timestamp").unlink()
    os.mkfifo(published / "tuf/timestamp")
    (published / "tuf/bundle").unlink()
    (published / "tuf/bundle").mkdir()
    got: dict[str, bytes] = {}
    reader = threading.Thread(
        target=lambda: got.update(Folder(published).fetch(list(FILES), 1 << 20)), daemon=True
    )
    reader.start()
    reader.join(DEADLINE_S)
    assert not reader.is_alive()
    assert list(got) == [f"c/{'ab' * 32}"]


class _Steady(BaseHTTPRequestHandler):
    """Gives a file that is whole only after two seconds, a little at a time."""

    protocol_version = "HTTP/1.1"
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Length", str(200 << 10))
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(200):
                self.wfile.write(bytes(1 << 10))
                time.sleep(0.01)

    def log_message(self, *_: Any, **__: Any) -> None:
        return None


def test_a_web_server_that_never_stops_giving_a_little_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each part of such a file is in time, the whole of it is not; others may have it."""
    monkeypatch.setattr("edgeml.ota.transport._FILE_S", 0.2)
    asked: list[str] = []
    for url in _serving(type("Handler", (_Steady,), {"asked": asked})):
        assert dict(Http(url).fetch(["tuf/bundle"], 1 << 20)) == {}
    assert asked == ["/tuf/bundle"]


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


def test_a_wish_brings_what_the_broker_forgot(broker: LocalBroker) -> None:
    digest = "cd" * 32
    seeder = Link(Connection(broker.url), "seeder", lambda _: (topics.want("plant", "+"),))
    seeder.open()
    next(event for event in steps(seeder) if isinstance(event, Up))

    def answer() -> None:
        wished = next(event for event in steps(seeder) if isinstance(event, Received))
        topic = topics.published("plant", f"c/{addresses.parse_want(wished.topic)}")
        seeder.publish(Message(topic, b"found again", retain=True))
        next(event for event in steps(seeder) if isinstance(event, Published))

    thread = threading.Thread(target=answer)
    thread.start()
    mqtt = at_broker(broker.url, silence_s=60.0)
    impatient = at_broker(broker.url, silence_s=0.3)
    assert dict(impatient.fetch([f"c/{digest}"], 100)) in ({}, {f"c/{digest}": b"found again"})
    thread.join(DEADLINE_S)
    assert dict(mqtt.fetch([f"c/{digest}"], 100)) == {f"c/{digest}": b"found again"}
    for line in (mqtt, impatient, seeder):
        line.close()


def test_a_line_that_is_cut_in_the_middle_comes_back_and_goes_on(broker: LocalBroker) -> None:
    many = {f"c/{i:064x}": bytes([i]) * 100 for i in range(40)}
    retained = {topics.published("plant", name): data for name, data in many.items()}
    retain(broker.url, retained)
    mqtt = at_broker(broker.url, silence_s=60.0)
    got = {}
    for name, data in mqtt.fetch(list(many), 1000):
        got[name] = data
        if len(got) == 5:
            broker.kill()
            broker.start()
            retain(broker.url, retained)
    mqtt.close()
    assert got == many


def test_a_broker_that_gives_a_byte_at_a_time_is_given_up() -> None:
    with trickling() as server:
        mqtt = at_broker(server.url, silence_s=1.0)
        assert list(mqtt.fetch(["tuf/timestamp"], 1 << 20)) == []
        mqtt.close()
        assert server.given > 0


class _PacedShelf:
    """A shelf that has everything, and a clock that moves by what is waited."""

    online = True

    def __init__(self, clock: ManualClock) -> None:
        self.asked: list[str] = []
        self.came: set[str] = set()
        self.most = 0
        self._clock = clock

    def open(self) -> None: ...

    def close(self) -> None: ...

    def wish(self, name: str) -> None: ...

    def ask(self, names: Sequence[str]) -> None:
        assert len(names) <= WINDOW
        self.asked += names
        self.most = max(self.most, len(self.asked))

    def leave(self, names: Sequence[str]) -> None:
        self.asked = [name for name in self.asked if name not in names]
        self.came.difference_update(names)

    def step(self, timeout_s: float) -> list[tuple[str, bytes]]:
        new = [name for name in self.asked if name not in self.came]
        if not new:
            self._clock.advance(timeout_s)
        self.came.update(new)
        return [(name, bytes(1000)) for name in new]


def test_a_broker_is_asked_for_a_few_at_a_time_and_no_faster_than_allowed() -> None:
    clock = ManualClock()
    shelf = _PacedShelf(clock)
    names = [f"c/{i:064x}" for i in range(100)]
    began_s = clock.monotonic_s()
    assert len(dict(Broker(shelf, clock, max_bytes_per_s=1000).fetch(names, 2000))) == 100
    assert shelf.most < 2 * WINDOW
    assert clock.monotonic_s() - began_s == pytest.approx(100, abs=10)
    assert shelf.asked == []


def test_what_nobody_asked_for_is_not_taken(broker: LocalBroker) -> None:
    mqtt = at_broker(broker.url)
    assert dict(mqtt.fetch([f"c/{'00' * 32}"], 100)) == {}
    mqtt.close()
