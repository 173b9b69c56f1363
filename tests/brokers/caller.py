"""A bare MQTT client that writes down what a broker says and sends: the probe of the matrix."""

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

ANSWER_S = 30.0
GREETING_S = 15.0
SILENCE_S = 3.0
"""After so long without a message there will be none; nothing here takes a tenth of that."""
MANY_S = 12.0
"""The same for thousands of messages, or megabytes."""


class Caller:
    """One client on one connection.

    Args:
        port: the broker's.
        name: the client id.
        mqtt5: which version to speak.
        clean: whether the broker forgets the client when the line ends.
        will: a topic; the client's will is published on it.
    """

    def __init__(
        self, port: int, name: str, *, mqtt5: bool, clean: bool = True, will: str | None = None
    ) -> None:
        self.received: list[MQTTMessage] = []
        self.greeting: Properties | None = None
        self.accepted = False
        self._answers: dict[int, str] = {}
        self._told = threading.Condition()
        self._answered = self._granted = self.is_down = False
        version = MQTTProtocolVersion.MQTTv5 if mqtt5 else MQTTProtocolVersion.MQTTv311
        self.client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=version,
            clean_session=None if mqtt5 else clean,
            reconnect_on_failure=False,
        )
        self.client.max_inflight_messages_set(20)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = lambda *_: self._tell("is_down")
        self.client.on_subscribe = lambda *_: self._tell("_granted")
        self.client.on_publish = self._on_publish
        self.client.on_message = self._on_message
        if will is not None:
            self.client.will_set(will, b"will", 1, retain=True)
        options: dict[str, Any] = {}
        if mqtt5:
            make: Callable[[int], Properties] = Properties
            properties = make(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 0 if clean else 3600
            options = {"clean_start": clean, "properties": properties}
        self.client.connect("127.0.0.1", port, **options)
        self.client.loop_start()
        self._wait(lambda: self._answered or self.is_down, GREETING_S)

    def subscribe(self, topic_filter: str) -> None:
        self._granted = False
        self.client.subscribe(topic_filter, 1)
        assert self._wait(lambda: self._granted or self.is_down)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> str | None:
        """What the broker answers; None where it cuts the line instead."""
        info = self.client.publish(topic, payload, 1, retain)
        self._wait(lambda: info.mid in self._answers or self.is_down)
        return self._answers.get(info.mid)

    def publish_many(self, topic: str, count: int) -> int:
        """How many of so many messages, numbered, the broker answers."""
        sent = {self.client.publish(topic, str(n).encode(), 1).mid for n in range(count)}
        self._wait(lambda: sent <= self._answers.keys() or self.is_down)
        return len(sent & self._answers.keys())

    def of(self, topic: str, count: int = 1, timeout_s: float = ANSWER_S) -> list[MQTTMessage]:
        """The messages of one topic, as soon as there are so many or the line is cut."""

        def found() -> list[MQTTMessage]:
            return [message for message in self.received if message.topic == topic]

        self._wait(lambda: len(found()) >= count or self.is_down, timeout_s)
        return found()

    def loses_the_line(self, timeout_s: float = ANSWER_S) -> bool:
        return self._wait(lambda: self.is_down, timeout_s)

    def hang_up(self) -> None:
        """End the line in order."""
        self.client.disconnect()
        self.client.loop_stop()

    def vanish(self) -> None:
        """End the line without a word."""
        sock = self.client.socket()
        assert sock is not None
        with socket.socket(fileno=os.dup(sock.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
        self.client.loop_stop()

    def _wait(self, done: Callable[[], Any], timeout_s: float = ANSWER_S) -> bool:
        deadline_s = time.monotonic() + timeout_s
        with self._told:
            return self._told.wait_for(
                lambda: done() or time.monotonic() > deadline_s, timeout_s
            ) and bool(done())

    def _tell(self, flag: str) -> None:
        with self._told:
            setattr(self, flag, True)
            self._told.notify_all()

    def _on_connect(
        self, _c: Client, _u: Any, _f: ConnectFlags, reason: ReasonCode, props: Properties | None
    ) -> None:
        self.accepted, self.greeting = reason.value == 0, props
        self._tell("_answered")

    def _on_publish(
        self, _c: Client, _u: Any, mid: int, reason: ReasonCode, _p: Properties | None
    ) -> None:
        self._answers[mid] = str(reason)
        self._tell("_answered")

    def _on_message(self, _c: Client, _u: Any, message: MQTTMessage) -> None:
        self.received.append(message)
        self._tell("_answered")
