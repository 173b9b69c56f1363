"""A topic as a sensor: numbers picked out of the JSON that others publish.

It speaks no MQTT itself: it is handed a `Subscriber`, so that the line to the
broker, its keys and its reconnection stay where they are.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from edgeml.clock import Clock, SystemClock
from edgeml.errors import ConfigError
from edgeml.sensors.driver import NOTHING, Batch
from edgeml.sensors.lines import JsonReading, attempt
from edgeml.sensors.pace import Stamp
from edgeml.sensors.sample import Sample

MOST_WAITING: Final = 10_000
"""Messages held between two reads; beyond it the oldest goes and is counted as lost."""


class Subscriber(Protocol):
    """Whoever has a line to a broker."""

    def subscribe(self, topic: str, receive: Callable[[bytes], None]) -> Callable[[], None]:
        """Call `receive` with the payload of every message on the topic, from any thread.

        It goes on through reconnections. Returns what ends it.

        Raises:
            OSError: there is no line to subscribe on (LinkError is one).
        """
        ...


class MqttTopic:
    """Messages on a topic; a driver for `Sensor`.

    Args:
        subscriber: the line to the broker.
        topic: the topic, or a filter with wildcards.
        channels: each channel's name, and where in the message it is: `{"t": "sht31.temp"}`.
        every_s: how often a message should come; None where silence means nothing.
        clock: the time.

    Raises:
        ConfigError: no channel, a path that cannot be read, or a period that is not positive.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        topic: str,
        channels: Mapping[str, str],
        *,
        every_s: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not channels:
            raise ConfigError('channels is empty; say where each one is: {"t": "sht31.temp"}')
        if every_s is not None and not every_s > 0:
            raise ConfigError(f"every_s={every_s}: a time above 0, or None")
        self.name = f"topic {topic}"
        self.channel_names = tuple(channels)
        self.period_s = every_s
        self._topic = topic
        self._subscriber = subscriber
        self._reading = JsonReading(list(channels.values()))
        self._stamp = Stamp(SystemClock() if clock is None else clock)
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._lost = 0
        self._last_s = 0.0
        self._arrived = threading.Condition()
        self._unsubscribe: Callable[[], None] | None = None

    def open(self) -> None:
        """Subscribe.

        Raises:
            OSError: there is no line.
        """
        self._unsubscribe = self._subscriber.subscribe(self._topic, self._receive)

    def read(self, timeout_s: float) -> Batch:
        """The messages that have come."""
        with self._arrived:
            if not self._waiting:
                self._arrived.wait(timeout_s)
            if not self._waiting:
                return NOTHING
            taken, lost = list(self._waiting), self._lost
            self._waiting.clear()
            self._lost = 0
        samples = []
        malformed, complaint = 0, ""
        for time_s, payload in taken:
            values = attempt(self._reading, payload)
            if isinstance(values, ValueError):
                malformed += 1
                complaint = f"{self.name}: {values}"
            else:
                samples.append(Sample(time_s, values))
        return Batch(samples, malformed, lost, complaint)

    def close(self) -> None:
        """End the subscription."""
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is not None:
            unsubscribe()

    def _receive(self, payload: bytes) -> None:
        with self._arrived:
            time_s = self._stamp.now_s()
            if 0 <= self._last_s - time_s < 1.0:
                time_s = self._last_s + 1e-6  # two in one tick of the clock are still in order
            self._last_s = time_s
            if len(self._waiting) == MOST_WAITING:
                self._waiting.popleft()
                self._lost += 1
            self._waiting.append((time_s, payload))
            self._arrived.notify()
