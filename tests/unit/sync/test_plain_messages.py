"""Messages that are read and written past paho: exactly the plain ones, byte by byte."""

from hypothesis import given
from hypothesis import strategies as st

from edgeml.sync.line import Received
from edgeml.sync.pahoclient import lacking_bytes, plain_message

NAMES = st.text(min_size=1, max_size=40).filter(lambda name: "\0" not in name)
PAYLOADS = st.binary(max_size=300)


def publish(
    name: str, payload: bytes, mid: int = 0, *, mqtt5: bool, flags: int = 0, properties: bytes = b""
) -> bytes:
    """A PUBLISH as the standard spells it."""
    topic = name.encode()
    body = len(topic).to_bytes(2, "big") + topic
    if mid:
        body += mid.to_bytes(2, "big")
        flags |= 2
    if mqtt5:
        body += bytes((len(properties),)) + properties
    body += payload
    length, left = b"", len(body)
    while left > 127:
        length, left = length + bytes((left % 128 + 128,)), left // 128
    return bytes((0x30 | flags,)) + length + bytes((left,)) + body


@given(NAMES, PAYLOADS, st.integers(0, 65535), st.booleans(), st.sampled_from((0, 1)), PAYLOADS)
def test_a_plain_message_is_read_as_it_was_sent_wherever_it_begins(
    name: str, payload: bytes, mid: int, mqtt5: bool, retain: int, before: bytes
) -> None:
    packet = publish(name, payload, mid, mqtt5=mqtt5, flags=retain)
    found = plain_message(before + packet + b"\x30", len(before), mqtt5=mqtt5)
    assert found == (Received(name, payload, bool(retain), mid), len(before) + len(packet))


@given(NAMES, PAYLOADS, st.integers(0, 65535), st.booleans(), st.data())
def test_half_a_message_is_none_yet(
    name: str, payload: bytes, mid: int, mqtt5: bool, data: st.DataObject
) -> None:
    packet = publish(name, payload, mid, mqtt5=mqtt5)
    cut = data.draw(st.integers(0, len(packet) - 1))
    assert plain_message(packet[:cut], 0, mqtt5=mqtt5) is None
    known = cut >= 5  # a length has at most four bytes
    left = lacking_bytes(b"\x40" + packet[:cut], 1)
    assert left == len(packet) - cut if known else left in (0, len(packet) - cut)


def test_what_lacks_of_a_very_long_message_is_paho_to_gather() -> None:
    assert lacking_bytes(publish("a", bytes(1 << 20), mqtt5=True)[:100], 0) == 0


@given(st.binary(max_size=40), st.booleans())
def test_nonsense_is_nothing_and_never_goes_beyond_what_came(data: bytes, mqtt5: bool) -> None:
    for head in (b"", b"\x30", b"\x32"):
        found = plain_message(head + data, 0, mqtt5=mqtt5)
        assert found is None or found[1] <= len(head + data)


def test_what_is_not_plain_is_left_to_paho() -> None:
    expiry = b"\x02\x00\x00\x00\x3c"
    not_utf8 = b"\x30\x05\x00\x02\xff\xff\x00"
    no_number = b"\x32\x06\x00\x01a\x00\x00\x00"
    exactly_once = b"\x34\x06\x00\x01a\x00\x01\x00"
    others = [
        publish("a", b"x", mqtt5=True, properties=expiry), not_utf8, no_number, exactly_once,
        b"\x40\x02\x00\x01", b"\x30\x02\x00\x05", b"\x30\xff\xff\xff\xff\x7f",
        b"\x30\x03\x00\x00\x00",
    ]  # fmt: skip
    assert [plain_message(packet, 0, mqtt5=True) for packet in others] == [None] * len(others)
