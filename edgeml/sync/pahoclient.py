"""paho's client, with less work for what comes a thousand times a second.

paho asks the socket for a byte, another byte and the rest, makes an object of
27 properties for every message, and sends every packet by itself. Here one call
gets what has come, plain messages (nearly all there are) are read at once, and
small packets leave together. Whatever is not plain is left to paho.
"""

import os
import socket
from collections.abc import Callable
from typing import Any, Final

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgeml.sync.connection import Connection
from edgeml.sync.line import Received

UNANSWERED: Final = 65535
"""Most messages that a broker answers late, where it does not say less."""
_READ_BYTES: Final = 16384
_BUNDLE_BYTES: Final = 8192
_PUBLISH: Final = 3
_PUBACK: Final = 0x40
_LONGEST: Final = 4
"""Bytes of a packet's length, by the standard."""
_LARGE_BYTES: Final = 1 << 20
"""A longer message is paho's to gather."""


class BufferedClient(Client):
    """A paho client that is read and written in large pieces, by the one thread that owns it."""

    buffered = b""
    lacking = 0
    """Bytes of the plain message that is buffered so far and that paho shall not see in part."""
    _bundle: Any = None

    def drop(self) -> None:
        """Report nothing any more, and close the socket."""
        self.on_connect = self.on_subscribe = self.on_disconnect = None
        self.on_message = self.on_publish = None
        sock = self.socket()
        if sock is not None:
            self.on_socket_register_write = None
            sock.close()

    def hold_to(self, unanswered: int) -> None:
        """Keep back what exceeds the broker's Receive Maximum, for which it would cut the line.

        States count, too, and paho, which never asks for that limit, takes none on an open line.
        """
        self._max_inflight_messages = unanswered

    @property
    def pending(self) -> bool:
        """Whether bytes wait here, or decrypted in the TLS or WebSocket layer, unseen by poll."""
        sock = self.socket()
        if sock is None:
            return False
        if self.buffered and not self.lacking:
            return True
        return hasattr(sock, "pending") and bool(sock.pending())

    def take_messages(self) -> list[Received]:
        """The plain messages that have come and stand before anything else."""
        if self._in_packet["command"]:
            return []  # paho is in the middle of a packet
        lacking, self.lacking = self.lacking, 0
        if lacking or not self.buffered:
            try:
                came = super()._sock_recv(max(lacking, _READ_BYTES))
            except BlockingIOError:
                self.lacking = lacking
                return []
            except OSError:
                came = b""
            if not came:
                return []  # the end or an error comes again when paho reads, and paho knows it
            self.buffered += came
        data, at = self.buffered, 0
        mqtt5 = self._protocol == MQTTProtocolVersion.MQTTv5
        found: list[Received] = []
        while (taken := plain_message(data, at, mqtt5=mqtt5)) is not None:
            received, at = taken
            found.append(received)
        if at:
            self.buffered = data[at:]
        self.lacking = lacking_bytes(data, at)
        return found

    def say(self, topic: str, payload: bytes, *, retain: bool) -> bool:
        """Send a message of QoS 0; whether there is a line for it."""
        name = topic.encode()
        properties = b"\0" if self._protocol == MQTTProtocolVersion.MQTTv5 else b""
        body = b"".join((len(name).to_bytes(2, "big"), name, properties, payload))
        return self._send_soon(bytes((_PUBLISH << 4 | retain,)) + _length(len(body)) + body)

    def confirm(self, mid: int) -> None:
        """Answer a message of QoS 1."""
        self._send_soon(bytes((_PUBACK, 2, mid >> 8, mid & 255)))

    def _send_soon(self, packet: bytes) -> bool:
        if self._sock is None:
            return False
        last = self._out_packet[-1] if self._out_packet else None
        if last is not None and last is self._bundle and _has_room(last):
            last["packet"] += packet
            last["to_process"] += len(packet)
        else:
            # To paho it is one packet that nobody waits for.
            self._packet_queue(_PUBACK, packet, 0, 1)
            self._bundle = self._out_packet[-1] if self._out_packet else None
        return True

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self.buffered:
            self.buffered = super()._sock_recv(max(bufsize, _READ_BYTES))
        head, self.buffered = self.buffered[:bufsize], self.buffered[bufsize:]
        return head


def client_for(
    connection: Connection, client_id: str, *, mqtt5: bool, manual_ack: bool
) -> BufferedClient:
    """A client for one connection, with the secrets as they are now.

    Raises:
        ConfigError: a certificate or a password file cannot be used.
    """
    path = connection.websocket_path
    client = BufferedClient(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=None if mqtt5 else True,
        protocol=MQTTProtocolVersion.MQTTv5 if mqtt5 else MQTTProtocolVersion.MQTTv311,
        transport="tcp" if path is None else "websockets",
        reconnect_on_failure=False,
        manual_ack=manual_ack,
    )
    if path is not None:
        client.ws_set_options(path=path)
    client.connect_timeout = connection.connect_timeout_s
    client.max_inflight_messages_set(UNANSWERED)
    if connection.username is not None:
        client.username_pw_set(connection.username, connection.password())
    context = connection.tls_context()
    if context is not None:
        client.tls_set_context(context)
    client.on_socket_open = send_at_once
    # With this set, paho leaves all writing to whoever owns the client.
    client.on_socket_register_write = lambda *_: None
    return client


def send_at_once(_c: Client, _u: Any, sock: Any) -> None:
    """Small packets leave together here: the kernel, waiting for more, would add 40 ms to each."""
    with socket.socket(fileno=os.dup(sock.fileno())) as twin:  # TLS and WebSocket wrap the real one
        twin.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def connect_properties(receive_maximum: int) -> Properties:
    """Of a connection whose session ends with it."""
    # paho's own class is untyped; through this name the call is not.
    make: Callable[[int], Properties] = Properties
    properties = make(PacketTypes.CONNECT)
    properties.ReceiveMaximum = receive_maximum
    properties.SessionExpiryInterval = 0
    return properties


def plain_message(data: bytes, at: int, *, mqtt5: bool) -> tuple[Received, int] | None:
    """A message of QoS 0 or 1 without properties that begins at `at`, and where it ends.

    None where something else begins there, or not all of it has come.
    """
    span = _body(data, at)
    if span is None:
        return None
    start, end = span
    if end > len(data) or end < start + 2:
        return None
    name_ends = start + 2 + int.from_bytes(data[start : start + 2], "big")
    mid, body = 0, name_ends
    if data[at] & 2:
        mid, body = int.from_bytes(data[name_ends : name_ends + 2], "big"), name_ends + 2
    if mqtt5:
        if body >= end or data[body]:
            return None
        body += 1
    if body > end or name_ends == start + 2 or (data[at] & 2 and not mid):
        return None
    try:
        topic = data[start + 2 : name_ends].decode()
    except UnicodeDecodeError:
        return None
    return Received(topic, data[body:end], bool(data[at] & 1), mid), end


def _body(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the body of a message of QoS 0 or 1 begins and ends; None where that is not here."""
    if len(data) < at + 2 or data[at] >> 4 != _PUBLISH or data[at] & 4:
        return None
    length = shift = 0
    for start in range(at + 2, min(at + 2 + _LONGEST, len(data) + 1)):
        length |= (data[start - 1] & 127) << shift
        shift += 7
        if not data[start - 1] & 128:
            return start, start + length
    return None


def lacking_bytes(data: bytes, at: int) -> int:
    """How much has not come of a message that begins at `at`; 0 where it is paho's to read."""
    span = _body(data, at)
    return 0 if span is None or span[1] - at > _LARGE_BYTES else max(span[1] - len(data), 0)


def _has_room(bundle: Any) -> bool:
    """Whether more can go with a packet: paho has not begun to send it, and it is not large."""
    return not bundle["pos"] and len(bundle["packet"]) < _BUNDLE_BYTES


def _length(length: int) -> bytes:
    """A length as MQTT writes it."""
    parts = bytearray()
    while length > 127:
        parts.append(length & 127 | 128)
        length >>= 7
    parts.append(length)
    return bytes(parts)
