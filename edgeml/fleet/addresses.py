"""Topics as the receiving end reads them and asks for them; devices' own are in `sync.topics`."""

import re
from dataclasses import dataclass
from typing import Final

from edgeml.errors import ProtocolError
from edgeml.sync.topics import CHANNELS, ID, ROOT, WANT

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def every_device(fleet: str, channel: str) -> str:
    """The filter that matches one channel of every device in the fleet."""
    return f"{ROOT}/{fleet}/d/+/{channel}"


def parse_want(topic: str) -> str:
    """The digest that a device asks for.

    Raises:
        ProtocolError: it is not such a topic of this protocol version.
    """
    parts = topic.split("/")
    if len(parts) != 5 or f"{parts[0]}/{parts[1]}" != ROOT or parts[3] != WANT:
        raise ProtocolError(f"{topic!r} asks for nothing; expected {ROOT}/FLEET/{WANT}/SHA256")
    if not _DIGEST.fullmatch(parts[4]):
        raise ProtocolError(f"{topic!r} does not end in a SHA-256 in hex")
    return parts[4]


def shared(group: str, topic_filter: str) -> str:
    """The filter by which the members of a group share what matches."""
    return f"$share/{group}/{topic_filter}"


@dataclass(frozen=True, slots=True)
class Address:
    """What a device's topic says: whose it is and which of its channels."""

    fleet: str
    device: str
    channel: str


def parse(topic: str) -> Address:
    """The address that a topic stands for.

    Raises:
        ProtocolError: it is not a device's topic of this protocol version.
    """
    parts = topic.split("/")
    if len(parts) != 6 or f"{parts[0]}/{parts[1]}" != ROOT or parts[3] != "d":
        raise ProtocolError(
            f"{topic!r} is not a device's topic; expected {ROOT}/FLEET/d/DEVICE/CHANNEL"
        )
    fleet, device, channel = parts[2], parts[4], parts[5]
    if not ID.fullmatch(fleet) or not ID.fullmatch(device):
        raise ProtocolError(f"{topic!r} names a fleet or a device that is not a legal id")
    if channel not in CHANNELS:
        raise ProtocolError(f"{topic!r} ends in an unknown channel; known: {', '.join(CHANNELS)}")
    return Address(fleet, device, channel)
