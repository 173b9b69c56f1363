"""A broker in memory, and lines to it: for simulations that no real network could repeat.

Every message waits inside until somebody routes it, so a simulation decides
what arrives, when, in which order, how often, or never. Like a real broker
that answers from memory, it confirms a message before anybody has it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from edgeml.errors import LinkError
from edgeml.sync.line import Down, LinkEvent, Message, Published, Received, Up


@dataclass(slots=True)
class MemoryBroker:
    """Retained messages, subscribers, and messages that nobody has routed yet."""

    running: bool = True
    retained: dict[str, bytes] = field(default_factory=dict)
    lines: list["MemoryLine"] = field(default_factory=list)
    waiting: list[Message] = field(default_factory=list)

    def take(self, message: Message) -> bool:
        """Accept a message; whether somebody is subscribed to it."""
        if message.retain:
            self.retained[message.topic] = message.payload
        self.waiting.append(message)
        return any(line.wants(message.topic) for line in self.lines)

    def route(self, at: int, *, keep: bool = False) -> None:
        """Deliver one of the waiting messages; with `keep` it stays, to be delivered again."""
        message = self.waiting[at] if keep else self.waiting.pop(at)
        for line in self.lines:
            if line.wants(message.topic):
                line.deliver(message.topic, message.payload, retained=False, qos=message.qos)

    def drop(self, at: int) -> None:
        """Lose one of the waiting messages."""
        self.waiting.pop(at)

    def kill(self) -> None:
        """Forget everything and cut every line."""
        self.running = False
        self.retained.clear()
        self.waiting.clear()
        for line in self.lines:
            line.cut("the broker died")


class MemoryLine:
    """A line to a `MemoryBroker`; it comes back at the next step after it was cut.

    Args:
        broker: the broker.
        filters: the filters to hold; `+` matches one level, `$share/GROUP/` is taken off.
        will: the message that the broker publishes when connection number n is cut.
        packet_bytes: the largest packet that the broker says it accepts.
        receive_maximum: most unanswered messages that it says it accepts.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        filters: tuple[str, ...],
        will: Callable[[int], Message | None] = lambda _: None,
        packet_bytes: int = 64 * 1024,
        receive_maximum: int = 8,
    ) -> None:
        self._broker = broker
        self._filters = [_without_group(name).split("/") for name in filters]
        self._will = will
        self._packet_bytes = packet_bytes
        self._receive_maximum = receive_maximum
        self._inbox: list[LinkEvent] = []
        self._up = False
        self._open = False
        self._connections = 0
        self._tokens = 0
        broker.lines.append(self)

    @property
    def online(self) -> bool:
        """Whether messages can be sent now."""
        return self._up

    def open(self) -> None:
        """Begin to connect, now and whenever the line is lost."""
        self._open = True

    def step(self, timeout_s: float) -> list[LinkEvent]:
        """What happened since the last step; connects if the line is down and the broker runs."""
        if self._open and not self._up and self._broker.running:
            self._up = True
            self._connections += 1
            limits = (self._receive_maximum, self._packet_bytes)
            self._inbox.append(Up(self._connections, True, *limits))
            for topic, payload in self._broker.retained.items():
                if self.wants(topic):
                    self.deliver(topic, payload, retained=True, qos=1)
        events, self._inbox = self._inbox, []
        return events

    def publish(self, message: Message) -> int:
        """Hand a message to the broker, which confirms it at once.

        Raises:
            LinkError: the line is down.
        """
        if not self._up:
            raise LinkError("the line is down")
        self._tokens += 1
        reached = self._broker.take(message)
        if message.qos:
            self._inbox.append(Published(self._tokens, reached, None))
        return self._tokens

    def acknowledge(self, token: int) -> None:
        """Tell the broker that a received message is safe; this one never asks."""

    def wake(self) -> None:
        """End a `step` that waits; this one never does."""

    def close(self, farewell: Message | None = None, timeout_s: float = 1.0) -> None:
        """Say goodbye, and end the line."""
        if farewell is not None and self._up:
            self._broker.take(farewell)
        self._open = self._up = False
        self._broker.lines.remove(self)

    def cut(self, reason: str) -> None:
        """Lose the line, and everything that had arrived and was not read."""
        if self._up:
            self._up = False
            self._inbox = [Down(reason, was_up=True)]
            will = self._will(self._connections)
            if will is not None and self._broker.running:
                self._broker.take(will)

    def vanish(self) -> None:
        """What a killed process leaves behind: its will."""
        self.cut("the process died")
        self._open = False
        self._broker.lines.remove(self)

    def wants(self, topic: str) -> bool:
        """Whether the line is up and subscribed to a topic."""
        levels = topic.split("/")
        return self._up and any(
            len(name) == len(levels)
            and all(a in ("+", b) for a, b in zip(name, levels, strict=True))
            for name in self._filters
        )

    def deliver(self, topic: str, payload: bytes, *, retained: bool, qos: int) -> None:
        """Put a message into the inbox."""
        self._tokens += 1
        self._inbox.append(Received(topic, payload, retained, self._tokens if qos else 0))


def _without_group(name: str) -> str:
    return name.split("/", 2)[2] if name.startswith("$share/") else name
