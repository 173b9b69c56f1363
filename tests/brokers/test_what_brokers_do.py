"""What each broker can and cannot do, measured: the table of docs/brokers.md, row by row.

Each probe looks at one thing with a bare client and returns the words that
stand in the table. A broker that behaves differently from what the page says
fails the row, whether it got worse or better.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.brokers.caller import MANY_S, SILENCE_S, Caller
from tests.brokers.servers import NAMES, Server

pytestmark = pytest.mark.brokers
PAGE = Path(__file__).parents[2] / "docs" / "brokers.md"
SPEAKS_5 = {"mosquitto"}
_numbers = itertools.count()


@contextlib.contextmanager
def callers(server: Server, *names: str) -> Iterator[list[Caller]]:
    """Clients in the highest version that the broker speaks."""
    made = [
        Caller(server.port, f"{name}{next(_numbers)}", mqtt5=server.name in SPEAKS_5)
        for name in names
    ]
    try:
        yield made
    finally:
        for caller in made:
            caller.hang_up()


def absent_subscriber(server: Server, name: str, topic: str) -> None:
    """A subscriber whom the broker should remember goes away."""
    subscriber = Caller(server.port, name, mqtt5=server.name in SPEAKS_5, clean=False)
    subscriber.subscribe(topic)
    subscriber.vanish()


def returned_subscriber(server: Server, name: str) -> Caller:
    return Caller(server.port, name, mqtt5=server.name in SPEAKS_5, clean=False)


def mqtt_5(server: Server) -> str:
    caller = Caller(server.port, "five", mqtt5=True)
    caller.hang_up()
    return "yes" if caller.accepted else "no, 3.1.1"


def shared_subscriptions(server: Server) -> str:
    with callers(server, "one", "two", "from") as (one, two, sender):
        for member in (one, two):
            member.subscribe("$share/group/shared/+")
        sender.publish_many("shared/x", 20)
        one.of("shared/x", 10, SILENCE_S)
        counts = [len(member.of("shared/x", 10, SILENCE_S)) for member in (one, two)]
    return "yes" if sum(counts) == 20 and all(counts) else "no: granted, and nothing comes"


def retained(server: Server) -> str:
    return retained_by(server, "kept/exact", "kept/exact")


def retained_by_wildcard(server: Server) -> str:
    return retained_by(server, "kept/wild", "kept/+")


def retained_by(server: Server, topic: str, topic_filter: str) -> str:
    with callers(server, "from", "late") as (sender, late):
        sender.publish(topic, b"1", retain=True)
        late.subscribe(topic_filter)
        found = late.of(topic, timeout_s=SILENCE_S)
    return "yes" if [m.retain for m in found] == [True] else "no"


def retained_after_a_kill(server: Server) -> str:
    with callers(server, "from") as (sender,):
        sender.publish("kept/kill", b"1", retain=True)
    server.kill()
    server.start()
    with callers(server, "late") as (late,):
        late.subscribe("kept/kill")
        return "yes" if late.of("kept/kill", timeout_s=SILENCE_S) else "no"


def foreign_messages(server: Server) -> str:
    """Whether a retained message comes to somebody who never asked for its topic."""
    with callers(server, "to", "from") as (receiver, sender):
        receiver.subscribe("foreign/x")
        sender.publish("foreign/x", b"1", retain=True)
        receiver.of("foreign/x")
    with callers(server, "other") as (other,):
        other.subscribe("mine/x")
        return "no: retained ones of others, too" if other.of("foreign/x", 1, SILENCE_S) else "yes"


def will(server: Server) -> str:
    with callers(server, "witness", "late") as (witness, late):
        witness.subscribe("will/x")
        Caller(server.port, "dies", mqtt5=server.name in SPEAKS_5, will="will/x").vanish()
        seen = witness.of("will/x")
        late.subscribe("will/x")
        kept = late.of("will/x", timeout_s=SILENCE_S)
    return "yes, retained" if seen and kept else "yes" if seen else "no"


def says_that_nobody_listens(server: Server) -> str:
    with callers(server, "from") as (sender,):
        answer = sender.publish("nobody/listens", b"1")
    return "yes" if answer == "No matching subscribers" else "no"


def says_its_limits(server: Server) -> str:
    with callers(server, "asks") as (caller,):
        most = getattr(caller.greeting, "ReceiveMaximum", None)
    return "no" if most is None else f"Receive Maximum {most}"


def long_messages(server: Server) -> str:
    passed = []
    for size in (128_000, 1_000_000, 8_000_000):
        with callers(server, "from", "to") as (sender, receiver):
            receiver.subscribe("long/x")
            sender.publish("long/x", bytes(size))
            if [len(m.payload) for m in receiver.of("long/x", timeout_s=MANY_S)] == [size]:
                passed.append(size)
    return f"{max(passed, default=0) / 1e6:g} MB passes"


def dots(server: Server) -> str:
    return level(server, "a.b")


def spaces(server: Server) -> str:
    return level(server, "a b")


def stars(server: Server) -> str:
    return level(server, "*")


def level(server: Server, name: str) -> str:
    """What becomes of a level of a topic on its way."""
    with callers(server, "to", "from") as (receiver, sender):
        receiver.subscribe("level/#")
        answer = sender.publish(f"level/{name}", b"1")
        if sender.is_down or answer is None:
            return "no: the line is cut"
        receiver.of(f"level/{name}", timeout_s=SILENCE_S)
        arrived = [m.topic for m in receiver.received if m.topic.startswith("level/")]
    if arrived == [f"level/{name}"]:
        return "yes"
    return f"no: it becomes `{arrived[0][6:]}`" if arrived else "no: answered and dropped"


def takeover(server: Server) -> str:
    mqtt5 = server.name in SPEAKS_5
    first = Caller(server.port, "same", mqtt5=mqtt5)
    second = Caller(server.port, "same", mqtt5=mqtt5)
    gone = first.loses_the_line(SILENCE_S)
    second.hang_up()
    first.hang_up()
    return "yes" if gone else "no: both stay"


def queue_for_the_absent(server: Server) -> str:
    absent_subscriber(server, "absent", "absent/x")
    with callers(server, "from") as (sender,):
        answered = sender.publish_many("absent/x", 3_000)
    back = returned_subscriber(server, "absent")
    arrived = len({m.payload for m in back.of("absent/x", answered, MANY_S)})
    back.hang_up()
    return f"{arrived:,} of {answered:,}"


def answered_before_a_kill(server: Server) -> str:
    absent_subscriber(server, "survivor", "survive/x")
    with callers(server, "from") as (sender,):
        answered = sender.publish_many("survive/x", 500)
        server.kill()
    server.start()
    back = returned_subscriber(server, "survivor")
    back.subscribe("survive/x")
    arrived = len({m.payload for m in back.of("survive/x", answered, MANY_S)})
    back.hang_up()
    return f"{arrived} of {answered}"


ROWS: dict[str, Callable[[Server], str]] = {
    "MQTT 5": mqtt_5,
    "shared subscriptions": shared_subscriptions,
    "says its limits": says_its_limits,
    "says that nobody is subscribed": says_that_nobody_listens,
    "retained message, exact filter": retained,
    "retained message, filter with `+`": retained_by_wildcard,
    "retained message after a SIGKILL": retained_after_a_kill,
    "nothing comes but what was subscribed to": foreign_messages,
    "will": will,
    "longest message tried: 8 MB": long_messages,
    "a dot in a topic": dots,
    "a space in a topic": spaces,
    "a star in a topic": stars,
    "a second client of one id ends the first": takeover,
    "3,000 messages for an absent subscriber": queue_for_the_absent,
    "500 answered messages after a SIGKILL": answered_before_a_kill,
}


def table() -> dict[str, dict[str, str]]:
    """The page's table: row, broker, what it says."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = [head.split(" ")[0].lower() for head in cells[0][1:]]
    assert heads == list(NAMES)
    return {row[0]: dict(zip(heads, row[1:5], strict=True)) for row in cells[2:] if len(row) == 5}


def test_the_page_has_a_row_for_each_probe_and_no_other() -> None:
    assert list(table()) == list(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_a_broker_does_what_the_page_says(server: Server, row: str) -> None:
    assert ROWS[row](server) == table()[row][server.name]
