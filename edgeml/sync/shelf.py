"""Retained messages that go to a whole fleet, asked for by exact topic on a line of their own.

What the updates fetch from a broker with. Bulk on a second connection never
delays a result on its way home, and no filter here has a wildcard, so that a
broker can neither flood it nor send what was not asked for.
"""

from collections.abc import Callable, Sequence

from edgeml.clock import Clock
from edgeml.errors import LinkError
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.line import Message, Received
from edgeml.sync.link import Link

_FILES = "c/"


class Shelf:
    """One fleet's published files at one broker.

    Args:
        connection: the broker.
        fleet: whose files.
        client_id: the MQTT client id.
        clock: the time.
    """

    def __init__(
        self, connection: Connection, fleet: str, client_id: str, clock: Clock | None = None
    ) -> None:
        self._fleet = fleet
        self._asked: dict[str, str] = {}
        self._make: Callable[[], Link] = lambda: Link(
            connection, client_id, lambda _: tuple(self._asked), clock=clock
        )
        self._link: Link | None = None

    @property
    def online(self) -> bool:
        """Whether something can be asked for now."""
        return self._link is not None and self._link.online

    def open(self) -> None:
        """Begin to connect, if it has not; the line comes back by itself."""
        if self._link is None:
            self._link = self._make()
            self._link.open()

    def ask(self, names: Sequence[str]) -> None:
        """Let files come, now and after each reconnection."""
        new = {topics.published(self._fleet, name): name for name in names}
        self._asked.update(new)
        if self._link is not None:
            self._link.subscribe(tuple(new))

    def leave(self, names: Sequence[str]) -> None:
        """Let them come no more."""
        old = [topics.published(self._fleet, name) for name in names]
        gone = [topic for topic in old if self._asked.pop(topic, None) is not None]
        if self._link is not None:
            self._link.unsubscribe(gone)

    def wish(self, name: str) -> None:
        """Ask whoever seeds to send a file again."""
        if self._link is None:
            return
        topic = topics.want(self._fleet, name.removeprefix(_FILES))
        try:
            self._link.publish(Message(topic, b"", qos=0))
        except LinkError:
            return  # the line is down: what was asked for is asked for again when it is back

    def step(self, timeout_s: float) -> list[tuple[str, bytes]]:
        """Let the line live for at most so long; what came of what was asked for."""
        if self._link is None:
            return []
        came = [event for event in self._link.step(timeout_s) if isinstance(event, Received)]
        return [(self._asked[one.topic], one.payload) for one in came if one.topic in self._asked]

    def close(self) -> None:
        """End the connection; `open` makes another."""
        link, self._link = self._link, None
        self._asked.clear()
        if link is not None:
            link.close()
