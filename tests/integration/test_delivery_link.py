"""A broker that talks nonsense costs a connection and never the thread."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from edgeml.clock import ManualClock
from edgeml.sync.connection import Connection
from edgeml.sync.line import Down, LinkEvent, Message, Published, Received, Up
from edgeml.sync.link import Link

DEADLINE_S = 300.0
PATIENT_S = 200.0
"""With a broker that answers, however slow this machine is."""

CONNACK = b"\x20\x03\x00\x00\x00"
SUBACK = b"\x90\x04\x00\x01\x00\x01"


@contextmanager
def a_broker(serve: Callable[[socket.socket], object]) -> Iterator[int]:
    """A server that does with each line what a test says, one line after the other."""
    server = socket.create_server(("127.0.0.1", 0))
    closing = threading.Event()

    def accept() -> None:
        while not closing.is_set():
            with suppress(OSError):
                line, _ = server.accept()
                with line:
                    serve(line)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        closing.set()
        server.close()


def saying(*parts: bytes, hangs_up: bool = False) -> Callable[[socket.socket], None]:
    """Sends one part for each thing it receives, then waits for the line to end.

    Or ends it itself, if it `hangs_up`.
    """

    def serve(line: socket.socket) -> None:
        for part in parts:
            if not line.recv(65536):
                break
            line.sendall(part)
        while not hangs_up and line.recv(65536):
            pass

    return serve


def answering(answer: Callable[[bytes], bytes]) -> Callable[[socket.socket], None]:
    """Answers whatever it receives at once."""

    def serve(line: socket.socket) -> None:
        while came := line.recv(65536):
            line.sendall(answer(came))

    return serve


def events_of(
    port: int, enough: type, protocol: str = "5", patience_s: float = PATIENT_S, count: int = 1
) -> list[LinkEvent]:
    """What a link reports until it has reported that, so many times."""
    connection = Connection(
        f"mqtt://127.0.0.1:{port}",
        protocol="5" if protocol == "5" else "auto",
        connect_timeout_s=patience_s,
        reconnect_min_s=0.05,
        reconnect_max_s=0.05,
    )
    link = Link(connection, "test", lambda _: ("a/b",))
    link.open()
    events: list[LinkEvent] = []
    deadline_s = time.monotonic() + DEADLINE_S
    while sum(isinstance(event, enough) for event in events) < count:
        assert time.monotonic() < deadline_s
        events += link.step(0.1)
    link.close()
    return events


def a_message(payload: bytes) -> bytes:
    """A PUBLISH of QoS 0 on a/b in MQTT 5."""
    body, length = b"\x00\x03a/b\x00" + payload, b""
    left = len(body)
    while left > 127:
        length, left = length + bytes((left % 128 + 128,)), left // 128
    return b"\x30" + length + bytes((left,)) + body


def test_messages_that_take_many_reads_arrive_whole_and_in_order() -> None:
    sizes = (65_537, 3, 200_000, 16_384, (1 << 20) + 5, 0, 131_072)
    payloads = [bytes((i,)) * size for i, size in enumerate(sizes)]
    said = b"".join(map(a_message, payloads))
    with a_broker(saying(CONNACK, SUBACK + said)) as port:
        events = events_of(port, Received, count=len(payloads))
    assert [event.payload for event in events if isinstance(event, Received)] == payloads


@pytest.mark.parametrize("came", [5, 9, 30_000, 65_000])
def test_a_line_that_ends_in_the_midst_of_a_message_is_down(came: int) -> None:
    said = SUBACK + a_message(b"x" * 65_536)[:came]
    with a_broker(saying(CONNACK, said, hangs_up=True)) as port:
        events = events_of(port, Down)
    assert any(isinstance(event, Up) for event in events)
    assert not any(isinstance(event, Received) for event in events)


NONSENSE = {
    "silence": b"",
    "zeros": b"\x00" * 64,
    "text": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "every byte": bytes(range(256)),
    "an endless length": b"\x30\xff\xff\xff\xff\xff",
    "a refusal": b"\x20\x03\x00\x87\x00",
    "an empty greeting": b"\x20\x00",
    "a greeting with broken properties": b"\x20\x05\x00\x00\x02\xff\xff",
    "a publish instead of a greeting": b"\x30\x02\x00\x05",
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_instead_of_a_greeting_is_a_line_that_is_down(answer: bytes) -> None:
    with a_broker(saying(answer)) as port:
        events = events_of(port, Down, patience_s=1.0)
    assert not any(isinstance(event, Up) for event in events)


LATER_NONSENSE = {
    "a publish cut short": b"\x32\x03\x00\x05a",
    "a topic that is not UTF-8": b"\x30\x05\x00\x02\xff\xff\x00\x30\x02\x00\x05",
    "a publish with broken properties": b"\x30\x06\x00\x01a\x7f\xff\xff",
    "an acknowledgement of nothing": b"\x40\x00",
    "a packet that does not exist": b"\xf0\x02\xff\xff\x00\x00",
    "a farewell with a reason that does not exist": b"\xe0\x01\x77",
    "quality 3": b"\x36\x07\x00\x01a\x00\x01\x00x",
}


@pytest.mark.parametrize("nonsense", LATER_NONSENSE.values(), ids=LATER_NONSENSE)
def test_nonsense_on_a_good_line_costs_the_line_and_nothing_else(nonsense: bytes) -> None:
    # The zeros at the end are packets that do not exist: any line ends with them at the latest.
    with a_broker(saying(CONNACK, SUBACK + nonsense + b"\x00" * 16)) as port:
        events = events_of(port, Down)
    assert any(isinstance(event, Up) for event in events)


def test_a_broker_that_is_silent_to_mqtt5_is_greeted_in_3_1_1() -> None:
    with a_broker(saying(b"")) as port:
        start_s = time.monotonic()
        events = events_of(port, Down, protocol="auto", patience_s=1.0)
    assert isinstance(events[0], Down)
    assert "did not answer" in events[0].reason
    assert time.monotonic() - start_s >= 2.0


def test_the_time_that_a_name_takes_is_not_the_brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, resolve = ManualClock(), socket.getaddrinfo

    def slowly(*args: Any, **options: Any) -> Any:
        clock.advance(2.5)
        return resolve(*args, **options)

    with a_broker(saying(CONNACK, SUBACK)) as port:
        monkeypatch.setattr(socket, "getaddrinfo", slowly)
        link = Link(Connection(f"mqtt://127.0.0.1:{port}"), "test", lambda _: ("a/b",), clock=clock)
        link.open()
        deadline_s, events = time.monotonic() + DEADLINE_S, []
        while not link.online:
            assert time.monotonic() < deadline_s
            events += link.step(0.1)
            assert not any(isinstance(event, Down) for event in events), events
        assert [event.mqtt5 for event in events if isinstance(event, Up)] == [True]
        link.close()


def test_a_silent_moment_is_no_proof_that_a_broker_does_not_know_mqtt5() -> None:
    levels: list[int] = []

    def serve(line: socket.socket) -> None:
        levels.append(line.recv(65536)[8])
        if len(levels) == 1:
            line.recv(65536)
        else:
            line.sendall(CONNACK if levels[-1] == 5 else b"\x20\x02\x00\x00")
            line.recv(65536)
            line.sendall(SUBACK if levels[-1] == 5 else b"\x90\x03\x00\x01\x00")

    clock = ManualClock()
    events: list[LinkEvent] = []
    with a_broker(serve) as port:
        connection = Connection(
            f"mqtt://127.0.0.1:{port}", reconnect_min_s=0.05, reconnect_max_s=0.05
        )
        link = Link(connection, "test", lambda _: ("a/b",), clock=clock)
        link.open()
        deadline_s = time.monotonic() + DEADLINE_S
        silent = True
        while len(ups := [event for event in events if isinstance(event, Up)]) < 2:
            assert time.monotonic() < deadline_s
            came = link.step(0.1)
            events += came
            if silent and levels:
                clock.advance(2.5)  # longer than a broker that is greeted in 5 may be silent
                silent = False
            elif any(isinstance(event, Down) for event in came):
                clock.advance(0.1)  # the pause between two connections
        link.close()
    assert [up.mqtt5 for up in ups] == [False, True]
    assert levels[:3] == [5, 4, 5]


def test_a_broker_that_refuses_mqtt5_and_hangs_up_is_greeted_in_3_1_1() -> None:
    def serve(line: socket.socket) -> None:
        if line.recv(65536)[8] == 5:
            line.sendall(b"\x20\x02\x00\x01")
            return
        line.sendall(b"\x20\x02\x00\x00")
        line.recv(65536)
        line.sendall(b"\x90\x03\x00\x01\x00")
        while line.recv(65536):
            pass

    with a_broker(serve) as port:
        events = events_of(port, Up, protocol="auto")
    assert [type(event) for event in events] == [Up]
    assert isinstance(events[0], Up)
    assert not events[0].mqtt5


GREETINGS = {
    "says so": (b"\x20\x05\x00\x00\x02\x2a\x00", None),
    "shows it": (CONNACK, b"\x90\x04\x00\x01\x00\x9e"),
}


@pytest.mark.parametrize(("greeting", "refusal"), GREETINGS.values(), ids=GREETINGS)
def test_a_broker_of_mqtt5_without_shared_subscriptions_is_asked_for_plain_ones(
    greeting: bytes, refusal: bytes | None
) -> None:
    asked: list[bytes] = []

    def answer(came: bytes) -> bytes:
        if came[0] >> 4 == 1:
            return greeting
        asked.append(came)
        if b"$share/" in came:
            return refusal or b"\xe0\x02\x9e\x00"
        return b"\x90\x04" + came[2:4] + b"\x00\x01"

    with a_broker(answering(answer)) as port:
        link = Link(
            Connection(f"mqtt://127.0.0.1:{port}", connect_timeout_s=PATIENT_S, protocol="5"),
            "test",
            lambda shares: ("$share/group/a",) if shares else ("a",),
        )
        link.open()
        deadline_s = time.monotonic() + DEADLINE_S
        events: list[LinkEvent] = []
        while not link.online:
            assert time.monotonic() < deadline_s
            events += link.step(0.1)
            assert not any(isinstance(event, Down) for event in events), events
        link.close()
    shared = [b"$share/" in one for one in asked if one[0] >> 4 == 8]
    assert shared == ([True, False] if refusal else [False])


def test_a_broker_never_has_more_to_answer_than_it_says_it_bears() -> None:
    unanswered: list[bytes] = []
    before_the_last_word: list[int] = []

    def answer(came: bytes) -> bytes:
        said = b""
        while came:
            packet, came = came[: 2 + came[1]], came[2 + came[1] :]
            if packet[0] >> 4 == 1:
                said += b"\x20\x06\x00\x00\x03\x21\x00\x02"
            elif packet[0] >> 4 == 8:
                said += SUBACK
            elif packet[0] == 0x32:
                unanswered.append(b"\x40\x02" + packet[5:7])
            elif packet[0] == 0x30:
                before_the_last_word.append(len(unanswered))
        if before_the_last_word:
            said += b"".join(unanswered)
            unanswered.clear()
        return said

    with a_broker(answering(answer)) as port:
        connection = Connection(f"mqtt://127.0.0.1:{port}", connect_timeout_s=PATIENT_S)
        link = Link(connection, "test", lambda _: ("a/b",))
        link.open()
        deadline_s = time.monotonic() + DEADLINE_S
        events: list[LinkEvent] = []
        tokens: list[int] = []
        while sum(isinstance(event, Published) for event in events) < 7:
            assert time.monotonic() < deadline_s
            events += link.step(0.1)
            if link.online and not tokens:
                tokens = [link.publish(Message("a", b"x")) for _ in range(7)]
                link.publish(Message("a", b"that was all", qos=0))
        link.close()
    assert [event.token for event in events if isinstance(event, Published)] == tokens
    assert before_the_last_word == [2]
