"""A topic of somebody else's, listened to: what the sensors' `MqttTopic` is handed.

Each subscription is a connection of its own with a thread of its own, so that
a flood on it never delays results on their way home.
"""

import itertools
import threading
from collections.abc import Callable
from typing import Final

from edgeml.clock import Clock
from edgeml.errors import ConfigError
from edgeml.sync.connection import Connection
from edgeml.sync.line import Received
from edgeml.sync.link import Link

_STEP_S: Final = 1.0
_JOIN_S: Final = 5.0
_MOST_TOPIC_BYTES: Final = 65535


class Subscriptions:
    """Topics at one broker.

    Args:
        connection: where the broker is.
        client_id: the beginning of the MQTT client ids; a number follows.
        clock: the time.
    """

    def __init__(
        self, connection: Connection, client_id: str, *, clock: Clock | None = None
    ) -> None:
        self._connection = connection
        self._client_id = client_id
        self._clock = clock
        self._numbers = itertools.count(1)

    def subscribe(self, topic: str, receive: Callable[[bytes], None]) -> Callable[[], None]:
        """Call `receive` with each payload on the topic, from a thread of its own.

        It goes on through reconnections, and a retained message comes with each
        of them.

        Args:
            topic: a topic, or a filter with `+` and `#`.
            receive: what takes the payload; quickly, for the line waits.

        Returns:
            What ends it, and joins the thread.

        Raises:
            ConfigError: no such topic can be.
        """
        _check_filter(topic)
        link = Link(
            self._connection,
            f"{self._client_id}-{next(self._numbers)}",
            lambda _: (topic,),
            clock=self._clock,
        )
        over = threading.Event()

        def listen() -> None:
            link.open()
            while not over.is_set():
                for event in link.step(_STEP_S):
                    if isinstance(event, Received):
                        receive(event.payload)
            link.close()

        thread = threading.Thread(target=listen, name="edgeml-subscription", daemon=True)
        thread.start()

        def end() -> None:
            if not over.is_set():
                over.set()
                link.wake()
                thread.join(_JOIN_S)

        return end


def _check_filter(topic: str) -> None:
    levels = topic.split("/")
    wild = [level for level in levels if "#" in level or "+" in level]
    misplaced = any(level not in ("#", "+") for level in wild) or "#" in levels[:-1]
    if not topic or "\0" in topic or len(topic.encode()) > _MOST_TOPIC_BYTES or misplaced:
        raise ConfigError(
            f"topic {topic!r}: write it like home/kitchen, home/+ or home/#, each sign a level "
            "by itself"
        )
