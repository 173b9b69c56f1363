"""The life of one update, as a table.

Every step is (state, event) -> next state; anything else is a bug and raises.
The updater asks the table, the diagram in docs/updates.md is drawn from it, and
the fault tests kill the process in every state of it. A state says what is
durable: whatever the process died in, the next start reads the state and goes
on from there, and until `ACTIVATED` the incumbent has not been touched.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from edgeml.errors import UpdateError


class State(str, Enum):
    """Where an update is."""

    IDLE = "idle"
    WAITING = "waiting"
    FETCHING = "fetching"
    PROBING = "probing"
    SHADOWING = "shadowing"
    PROBATION = "probation"
    ROLLING_BACK = "rolling_back"


class Event(str, Enum):
    """What happens to it."""

    RELEASE_FOUND = "release_found"
    WITHDRAWN = "withdrawn"
    PERMITTED = "permitted"
    REFUSED = "refused"
    CHUNKS_COMPLETE = "chunks_complete"
    PROBE_FAILED = "probe_failed"
    SHADOW_BEGUN = "shadow_begun"
    SHADOW_FAILED = "shadow_failed"
    ACTIVATED = "activated"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    REVOKED = "revoked"
    ROLLED_BACK = "rolled_back"


TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {
        (State.IDLE, Event.RELEASE_FOUND): State.WAITING,
        (State.WAITING, Event.WITHDRAWN): State.IDLE,
        (State.WAITING, Event.REFUSED): State.IDLE,
        (State.WAITING, Event.PERMITTED): State.FETCHING,
        (State.FETCHING, Event.WITHDRAWN): State.IDLE,
        (State.FETCHING, Event.REFUSED): State.IDLE,
        (State.FETCHING, Event.CHUNKS_COMPLETE): State.PROBING,
        (State.PROBING, Event.WITHDRAWN): State.IDLE,
        (State.PROBING, Event.PROBE_FAILED): State.IDLE,
        (State.PROBING, Event.SHADOW_BEGUN): State.SHADOWING,
        (State.PROBING, Event.ACTIVATED): State.PROBATION,
        (State.SHADOWING, Event.WITHDRAWN): State.IDLE,
        (State.SHADOWING, Event.SHADOW_FAILED): State.IDLE,
        (State.SHADOWING, Event.ACTIVATED): State.PROBATION,
        (State.PROBATION, Event.HEALTHY): State.IDLE,
        (State.PROBATION, Event.UNHEALTHY): State.ROLLING_BACK,
        (State.PROBATION, Event.REVOKED): State.ROLLING_BACK,
        (State.IDLE, Event.REVOKED): State.ROLLING_BACK,
        (State.IDLE, Event.UNHEALTHY): State.ROLLING_BACK,
        (State.ROLLING_BACK, Event.ROLLED_BACK): State.IDLE,
    }
)


def follow(state: State, event: Event) -> State:
    """The state after an event.

    Raises:
        UpdateError: the table has no such step, which is a bug in whoever asks.
    """
    after = TRANSITIONS.get((state, event))
    if after is None:
        raise UpdateError(f"an update that is {state.value} cannot become {event.value}; a bug")
    return after


def diagram() -> str:
    """The table as a Mermaid state diagram, as docs/updates.md shows it."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.IDLE.value}"]
    for (before, event), after in TRANSITIONS.items():
        lines.append(f"    {before.value} --> {after.value}: {event.value}")
    return "\n".join(lines)
