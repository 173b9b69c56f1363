"""The one place that speaks MQTT: a thin skin around paho, without threads of its own.

Whoever owns a `Link` calls `step` in its own thread: it waits for the socket,
lets paho read and write, and returns what happened as values. Reconnection is
the table of `reconnect.py`, with a new paho client for every connection, so
that nothing of a dead session survives inside the library.
"""

import logging
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgeml.clock import Clock, SystemClock
from edgeml.errors import ConfigError, LinkError
from edgeml.sync.connection import Connection
from edgeml.sync.line import Down, LinkEvent, Message, Published, Received, Up
from edgeml.sync.pahoclient import UNANSWERED, BufferedClient, client_for, connect_properties
from edgeml.sync.reconnect import Line, Phase, Policy, Signal, due, step
from edgeml.sync.waker import Waker

log: Final = logging.getLogger("edgeml.link")

_NO_SUBSCRIBERS: Final = 0x10
_WRONG_VERSION: Final = frozenset((1, 0x84))
_TRIAL_S: Final = 2.0
"""A broker of 3.1.1 may take an MQTT 5 greeting for an unfinished one, and stay silent."""
_NO_SHARES: Final = 0x9E
_MAX_PACKET_BYTES: Final = 268_435_455
_READS_PER_STEP: Final = 64
_MALFORMED: Final = (ValueError, LookupError, TypeError, struct.error)
"""What escapes from paho's decoding where a packet is not what it says it is."""


class Link:
    """A line to one broker that comes back by itself.

    Args:
        connection: where and how.
        client_id: the MQTT client id; a second client of the same id throws the first one out.
        subscriptions: the filters to hold, given whether the broker has shared subscriptions; the
            line is up when the broker has granted all of them.
        will: the message that the broker publishes when connection number n dies; None for none.
        clock: the time.
        receive_maximum: most unanswered QoS 1 messages that the broker may send at once.
        manual_ack: messages are confirmed by `acknowledge`, not on arrival.
        chance: random numbers from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        connection: Connection,
        client_id: str,
        subscriptions: Callable[[bool], tuple[str, ...]] = lambda _: (),
        *,
        will: Callable[[int], Message | None] = lambda _: None,
        clock: Clock | None = None,
        receive_maximum: int = 64,
        manual_ack: bool = False,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._connection = connection
        self._client_id = client_id
        self._subscriptions = subscriptions
        self._will = will
        self._clock = SystemClock() if clock is None else clock
        self._receive_maximum = receive_maximum
        self._manual_ack = manual_ack
        self._chance = chance
        self._policy = Policy(
            connection.reconnect_min_s, connection.reconnect_max_s, connection.connect_timeout_s
        )
        self._filters: tuple[str, ...] = ()
        self._trial = replace(
            self._policy, answer_timeout_s=min(_TRIAL_S, connection.connect_timeout_s)
        )
        self._line = Line()
        self._mqtt5 = connection.protocol != "3.1.1"
        self._version_proven = connection.protocol != "auto"
        self._guessed = False
        self._connections = 0
        self._client: BufferedClient | None = None
        self._limits = (UNANSWERED, _MAX_PACKET_BYTES)
        self._shares = False
        self._events: list[LinkEvent] = []
        self._signals: list[tuple[Signal, str]] = []
        self._waker = Waker()

    @property
    def online(self) -> bool:
        """Whether messages can be sent now."""
        return self._line.phase is Phase.ONLINE

    def open(self) -> None:
        """Begin to connect, now and whenever the line is lost."""
        self._signal(Signal.START, "")

    def step(self, timeout_s: float) -> list[LinkEvent]:
        """Let the line live for at most `timeout_s`, less when something happens.

        Returns:
            What happened, in order.
        """
        if self._line.deadline_s is not None:
            timeout_s = min(timeout_s, max(self._line.deadline_s - self._clock.monotonic_s(), 0.0))
        self._serve(timeout_s)
        if due(self._line, self._clock.monotonic_s()):
            if self._line.phase is Phase.CONNECTING and self._may_fall_back():
                # Silence is a reason to try, not to believe: the next connection tries 5 again.
                self._guessed = True
                self._fall_back()
            else:
                self._signal(Signal.DUE, "the broker did not answer in time")
        while self._signals:
            signal, reason = self._signals.pop(0)
            self._signal(signal, reason)
        events, self._events = self._events, []
        return events

    def publish(self, message: Message) -> int:
        """Hand a message to the line.

        Returns:
            The token that `Published` will carry, for QoS 1.

        Raises:
            LinkError: the line is down.
        """
        if self._client is None:
            raise LinkError(f"{self._connection.url}: the line is down")
        if not message.qos:
            if self._client.say(message.topic, message.payload, retain=message.retain):
                return 0
            raise LinkError(f"{self._connection.url}: the line is down")
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise LinkError(f"{self._connection.url}: the line is down")
        return int(info.mid)

    def subscribe(self, names: Sequence[str]) -> None:
        """Hold more topics until the line is lost; a broker's refusal shows by its silence."""
        if self._client is not None and self.online and names:
            self._client.subscribe(self._asked(names))

    def unsubscribe(self, names: Sequence[str]) -> None:
        """Hold topics no more."""
        if self._client is not None and self.online and names:
            self._client.unsubscribe(list(names))

    def acknowledge(self, token: int) -> None:
        """Tell the broker that a received message is safe; with `manual_ack`, and only then."""
        if self._client is not None and token:
            self._client.confirm(token)

    def wake(self) -> None:
        """End a `step` that waits; from any thread."""
        self._waker.wake()

    def close(self, farewell: Message | None = None, timeout_s: float = 1.0) -> None:
        """Say goodbye in order, so that the broker does not publish the will, and end the line."""
        client = self._client
        if client is not None and self.online:
            deadline_s = self._clock.monotonic_s() + timeout_s
            if farewell is not None:
                self._say_farewell(client, farewell, deadline_s)
            client.disconnect()
            while client.want_write() and client.socket() is not None:
                left_s = deadline_s - self._clock.monotonic_s()
                if left_s <= 0:
                    break
                self._serve(left_s)
        self._signal(Signal.CLOSE, "")
        self._events.clear()
        self._waker.close()

    def _say_farewell(self, client: BufferedClient, farewell: Message, deadline_s: float) -> None:
        """And wait for the answer: a broker may forget what came just before the goodbye."""
        token = client.publish(farewell.topic, farewell.payload, 1, farewell.retain).mid
        while not any(isinstance(e, Published) and e.token == token for e in self._events):
            left_s = deadline_s - self._clock.monotonic_s()
            if left_s <= 0 or self._signals or client.socket() is None:
                return
            self._serve(left_s)

    def _signal(self, signal: Signal, reason: str) -> None:
        before = self._line
        policy = self._policy if self._version_proven or signal is Signal.FALL_BACK else self._trial
        after = step(before, signal, policy, self._clock.monotonic_s(), self._chance())
        if after is before:
            return
        self._line = after
        if after.phase is Phase.CONNECTING:
            self._connect()
        elif after.phase is Phase.SUBSCRIBING:
            self._subscribe()
        elif after.phase is Phase.ONLINE:
            log.info("%s: online, MQTT %s", self._connection.url, "5" if self._mqtt5 else "3.1.1")
            self._events.append(Up(self._connections, self._mqtt5, *self._limits))
        else:
            self._drop()
            if not self._version_proven:
                self._mqtt5, self._guessed = True, False
            if after.phase is Phase.WAITING:
                log.info("%s: %s", self._connection.url, reason)
                self._events.append(Down(reason, was_up=before.phase is Phase.ONLINE))

    def _connect(self) -> None:
        self._drop()
        self._connections += 1
        try:
            client = self._new_client()
            self._client = client
            client.connect(
                self._connection.host,
                self._connection.port,
                self._connection.keepalive_s,
                clean_start=True if self._mqtt5 else 3,
                properties=connect_properties(self._receive_maximum) if self._mqtt5 else None,
            )
        except (OSError, ValueError, ConfigError) as exc:
            # ssl's and socket's errors are OSErrors; paho raises ValueError for a bad host name.
            self._signals.append((Signal.LOST, f"cannot connect: {exc}"))
        # Names, TCP and TLS took what they took: the broker's own time to answer begins now.
        policy = self._policy if self._version_proven or not self._mqtt5 else self._trial
        answer_by_s = self._clock.monotonic_s() + policy.answer_timeout_s
        self._line = replace(self._line, deadline_s=answer_by_s)

    def _new_client(self) -> BufferedClient:
        client = client_for(
            self._connection, self._client_id, mqtt5=self._mqtt5, manual_ack=self._manual_ack
        )
        will = self._will(self._connections)
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        return client

    def _subscribe(self) -> None:
        client = self._client
        self._filters = self._subscriptions(self._shares)
        if client is None or not self._filters:
            self._signals.append((Signal.SUBSCRIBED, ""))
            return
        client.subscribe(self._asked(self._filters))

    def _asked(self, names: Sequence[str]) -> list[Any]:
        """Topics at QoS 1, as paho has them for one packet."""
        return [(name, SubscribeOptions(qos=1) if self._mqtt5 else 1) for name in names]

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.drop()

    def _serve(self, timeout_s: float) -> None:
        client = self._client
        sock = None if client is None else client.socket()
        if self._signals or (client is not None and client.pending):
            timeout_s = 0.0
        if client is None or sock is None:
            self._waker.wait(None, to_write=False, timeout_s=timeout_s)
            return
        readable, writable = self._waker.wait(
            sock, to_write=client.want_write(), timeout_s=timeout_s
        )
        if readable or client.pending:
            try:
                self._read(client)
            except _MALFORMED as exc:
                self._signals.append((Signal.LOST, f"the broker talks nonsense: {exc!r}"))
                return
        if writable and client.socket() is not None:
            client.loop_write()
        if client.socket() is not None:
            client.loop_misc()

    def _read(self, client: BufferedClient) -> None:
        for _ in range(_READS_PER_STEP):
            taken = client.take_messages()
            self._events += taken
            for received in () if self._manual_ack else taken:
                if received.token:
                    client.confirm(received.token)
            more = not client.lacking and (client.buffered or not taken)
            if more and client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return
            if not client.pending:
                return

    def _on_connect(
        self,
        _c: Client,
        _u: Any,
        _f: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.value == 0:
            self._version_proven = not self._guessed
            self._limits = (
                int(getattr(properties, "ReceiveMaximum", UNANSWERED)),
                int(getattr(properties, "MaximumPacketSize", _MAX_PACKET_BYTES)),
            )
            if self._client is not None:
                self._client.hold_to(self._limits[0])
            self._shares = self._mqtt5 and getattr(properties, "SharedSubscriptionAvailable", 1) > 0
            self._signals.append((Signal.ACCEPTED, ""))
        elif reason.value in _WRONG_VERSION and self._may_fall_back():
            self._fall_back()
        else:
            self._signals.append((Signal.LOST, f"the broker refused the connection: {reason}"))

    def _on_subscribe(
        self, _c: Client, _u: Any, _mid: int, reasons: list[ReasonCode], _p: Properties | None
    ) -> None:
        if self._line.phase is not Phase.SUBSCRIBING:
            return
        refused = [
            name for name, reason in zip(self._filters, reasons, strict=False) if reason.is_failure
        ]
        if self._shares and any(reason.value == _NO_SHARES for reason in reasons):
            self._shares = False
            self._subscribe()
        elif refused:
            self._signals.append(
                (Signal.LOST, f"the broker refused the subscription to {refused[0]}")
            )
        else:
            self._signals.append((Signal.SUBSCRIBED, ""))

    def _on_disconnect(
        self, _c: Client, _u: Any, _f: DisconnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        if self._line.phase is Phase.CONNECTING and self._may_fall_back():
            self._fall_back()
        else:
            self._signals.append((Signal.LOST, f"the line was lost: {reason}"))

    def _on_message(self, _c: Client, _u: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        token = message.mid if message.qos else 0
        self._events.append(Received(topic, bytes(message.payload), bool(message.retain), token))

    def _on_publish(
        self, _c: Client, _u: Any, mid: int, reason: ReasonCode, _p: Properties | None
    ) -> None:
        refused = str(reason) if reason.is_failure else None
        self._events.append(Published(mid, reason.value != _NO_SUBSCRIBERS, refused))

    def _may_fall_back(self) -> bool:
        return self._mqtt5 and not self._version_proven

    def _fall_back(self) -> None:
        self._mqtt5 = False
        if self._client is not None:
            # A broker that refuses hangs up, too; that must not end the line that follows.
            self._client.on_disconnect = None
        self._signals.append((Signal.FALL_BACK, "the broker does not speak MQTT 5"))
