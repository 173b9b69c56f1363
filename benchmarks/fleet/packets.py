"""MQTT's packets, as far as a device needs them: how they are put together and taken apart."""


def packet(kind: int, *parts: bytes) -> bytes:
    """An MQTT packet: its first byte, its length, its parts."""
    length = sum(map(len, parts))
    head = bytearray((kind,))
    while True:
        head.append((length & 127) | (128 if length > 127 else 0))
        length >>= 7
        if not length:
            return b"".join((head, *parts))


def text(value: str | bytes) -> bytes:
    """A string as MQTT writes it."""
    raw = value.encode() if isinstance(value, str) else value
    return len(raw).to_bytes(2, "big") + raw


def taken(stream: bytearray) -> tuple[int, bytes] | None:
    """The packet that a stream begins with, taken off it; None where not all of it has come."""
    length = shift = 0
    for at in range(1, min(5, len(stream))):
        length |= (stream[at] & 127) << shift
        shift += 7
        if not stream[at] & 128:
            end = at + 1 + length
            if len(stream) < end:
                return None
            kind, body = stream[0], bytes(stream[at + 1 : end])
            del stream[:end]
            return kind, body
    return None
