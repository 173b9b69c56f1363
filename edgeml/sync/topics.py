"""The names on the wire: which topic carries what, and which ids a topic can carry.

docs/protocol.md lists them. An id is letters, digits, `_` and `-`, because
slashes and wildcards break MQTT filters and dots break NATS, which maps them.
"""

import re
from dataclasses import dataclass
from typing import Final

from edgeml.errors import ConfigError, ProtocolError

PROTOCOL: Final = 1
_ROOT: Final = f"edgeml/{PROTOCOL}"
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

STATE: Final = "state"
RESULTS: Final = "results"
EVENTS: Final = "events"
SAMPLES: Final = "samples"
HEALTH: Final = "health"
ACK: Final = "ack"
LATEST: Final = "latest"

WANT: Final = "want"
"""What begins the topics by which devices ask for files that did not come."""

CHANNELS: Final = (STATE, RESULTS, EVENTS, SAMPLES, HEALTH, ACK, LATEST)
"""What a device's own topics end in."""


def checked_id(value: str, what: str) -> str:
    """The id, if a topic can carry it.

    Args:
        value: the id.
        what: what it names, for the message: `device id`, `fleet`.

    Raises:
        ConfigError: it is empty, longer than 64 characters or has others than letters, digits,
            `_`, `-`.
    """
    if not _ID.fullmatch(value):
        raise ConfigError(
            f"{what} {value!r} cannot stand in a topic; use 1 to 64 letters, digits, '_' or '-'"
        )
    return value


def device_topic(fleet: str, device: str, channel: str) -> str:
    """The topic of one device's channel: `edgeml/1/plant-a/d/pump-7/results`."""
    return f"{_ROOT}/{fleet}/d/{device}/{channel}"


def every_device(fleet: str, channel: str) -> str:
    """The filter that matches one channel of every device in the fleet."""
    return f"{_ROOT}/{fleet}/d/+/{channel}"


def published(fleet: str, name: str) -> str:
    """The topic of what goes to every device, by its name in `edgeml.releases.names`."""
    return f"{_ROOT}/{fleet}/{name}"


def want(fleet: str, digest: str) -> str:
    """The topic by which a device asks for a file; with `+` as the digest, the filter of all."""
    return f"{_ROOT}/{fleet}/{WANT}/{digest}"


def parse_want(topic: str) -> str:
    """The digest that a device asks for.

    Raises:
        ProtocolError: it is not such a topic of this protocol version.
    """
    parts = topic.split("/")
    if len(parts) != 5 or f"{parts[0]}/{parts[1]}" != _ROOT or parts[3] != WANT:
        raise ProtocolError(f"{topic!r} asks for nothing; expected {_ROOT}/FLEET/{WANT}/SHA256")
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
    if len(parts) != 6 or f"{parts[0]}/{parts[1]}" != _ROOT or parts[3] != "d":
        raise ProtocolError(
            f"{topic!r} is not a device's topic; expected {_ROOT}/FLEET/d/DEVICE/CHANNEL"
        )
    fleet, device, channel = parts[2], parts[4], parts[5]
    if not _ID.fullmatch(fleet) or not _ID.fullmatch(device):
        raise ProtocolError(f"{topic!r} names a fleet or a device that is not a legal id")
    if channel not in CHANNELS:
        raise ProtocolError(f"{topic!r} ends in an unknown channel; known: {', '.join(CHANNELS)}")
    return Address(fleet, device, channel)
