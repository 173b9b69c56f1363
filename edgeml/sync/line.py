"""What a line to a broker can do and what it reports, whoever provides it.

`link.py` provides it over MQTT.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """Something to publish."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Up:
    """The broker accepted the connection and every subscription.

    Attributes:
        connection: counts this link's connections, from 1.
        mqtt5: whether the line speaks MQTT 5.
        receive_maximum: most unanswered QoS 1 messages that the broker accepts.
        max_packet_bytes: the largest packet that the broker accepts.
    """

    connection: int
    mqtt5: bool
    receive_maximum: int
    max_packet_bytes: int


@dataclass(frozen=True, slots=True)
class Down:
    """The line is gone, or could not be had."""

    reason: str
    was_up: bool


@dataclass(frozen=True, slots=True)
class Received:
    """A message arrived; `token` is what `acknowledge` takes, 0 where nothing is owed."""

    topic: str
    payload: bytes
    retained: bool
    token: int


@dataclass(frozen=True, slots=True)
class Published:
    """The broker answered a QoS 1 message.

    Attributes:
        token: what `publish` returned.
        reached: False where the broker said that nobody is subscribed (MQTT 5 only).
        refused: why the broker would not have it, if so.
    """

    token: int
    reached: bool
    refused: str | None


LinkEvent = Up | Down | Received | Published


class Line(Protocol):
    """A line to one broker that comes back by itself."""

    @property
    def online(self) -> bool:
        """Whether messages can be sent now."""
        ...

    def open(self) -> None:
        """Begin to connect, now and whenever the line is lost."""
        ...

    def step(self, timeout_s: float) -> list[LinkEvent]:
        """Let the line live for at most so long, and say what happened."""
        ...

    def publish(self, message: Message) -> int:
        """Hand a message to the line; raises `LinkError` where it is down."""
        ...

    def acknowledge(self, token: int) -> None:
        """Tell the broker that a received message is safe."""
        ...

    def wake(self) -> None:
        """End a `step` that waits; from any thread."""
        ...

    def close(self, farewell: Message | None = None, timeout_s: float = 1.0) -> None:
        """Say goodbye in order, and end the line."""
        ...
