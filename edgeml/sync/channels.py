"""Which kinds of entries a read is for, and which topic they travel on."""

from collections.abc import Mapping
from typing import Final

from edgeml.sync import topics
from edgeml.sync.entries import Kind
from edgeml.sync.flow import Read

CHANNEL_OF: Final[Mapping[Kind, str]] = {
    Kind.EVENT: topics.EVENTS,
    Kind.GAP: topics.EVENTS,
    Kind.RESULT: topics.RESULTS,
    Kind.SAMPLE: topics.SAMPLES,
}

_EVENTS: Final = (Kind.EVENT, Kind.GAP)


def kinds_of(read: Read) -> tuple[Kind, ...]:
    """What a read looks for in the outbox; gap records go as events."""
    if read.of_events:
        return _EVENTS
    return (Kind.SAMPLE,) if read.of_samples else (Kind.RESULT,)
