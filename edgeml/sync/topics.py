"""The names on the wire: which topic carries what, and which ids a topic can carry.

docs/protocol.md lists them. An id is letters, digits, `_` and `-`, because
slashes and wildcards break MQTT filters and dots break NATS, which maps them.
"""

import re
from typing import Final

from edgeml.errors import ConfigError

PROTOCOL: Final = 1
ROOT: Final = f"edgeml/{PROTOCOL}"
ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

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
    if not ID.fullmatch(value):
        raise ConfigError(
            f"{what} {value!r} cannot stand in a topic; use 1 to 64 letters, digits, '_' or '-'"
        )
    return value


def device_topic(fleet: str, device: str, channel: str) -> str:
    """The topic of one device's channel: `edgeml/1/plant-a/d/pump-7/results`."""
    return f"{ROOT}/{fleet}/d/{device}/{channel}"


def published(fleet: str, name: str) -> str:
    """The topic of what goes to every device, by its name in `edgeml.releases.names`."""
    return f"{ROOT}/{fleet}/{name}"


def want(fleet: str, digest: str) -> str:
    """The topic by which a device asks for a file; with `+` as the digest, the filter of all."""
    return f"{ROOT}/{fleet}/{WANT}/{digest}"
