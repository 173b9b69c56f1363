"""The life of a line to the broker, as a table.

Every step is (phase, signal) -> next phase; a pair that is not in the table
changes nothing, because a dying line keeps talking. Backoff is exponential
with full jitter, so that a thousand devices do not come back in step. Time and
chance come in as arguments.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final


class Phase(Enum):
    """Where the line stands."""

    IDLE = "idle"
    CONNECTING = "connecting"
    SUBSCRIBING = "subscribing"
    ONLINE = "online"
    WAITING = "waiting"
    CLOSED = "closed"


class Signal(Enum):
    """What can happen to it."""

    START = "start"
    ACCEPTED = "accepted"
    FALL_BACK = "fall back"
    SUBSCRIBED = "subscribed"
    LOST = "lost"
    DUE = "due"
    CLOSE = "close"


TRANSITIONS: Final[Mapping[tuple[Phase, Signal], Phase]] = {
    (Phase.IDLE, Signal.START): Phase.CONNECTING,
    (Phase.CONNECTING, Signal.ACCEPTED): Phase.SUBSCRIBING,
    (Phase.CONNECTING, Signal.FALL_BACK): Phase.CONNECTING,
    (Phase.CONNECTING, Signal.LOST): Phase.WAITING,
    (Phase.CONNECTING, Signal.DUE): Phase.WAITING,
    (Phase.SUBSCRIBING, Signal.SUBSCRIBED): Phase.ONLINE,
    (Phase.SUBSCRIBING, Signal.LOST): Phase.WAITING,
    (Phase.SUBSCRIBING, Signal.DUE): Phase.WAITING,
    (Phase.ONLINE, Signal.LOST): Phase.WAITING,
    (Phase.WAITING, Signal.DUE): Phase.CONNECTING,
    (Phase.IDLE, Signal.CLOSE): Phase.CLOSED,
    (Phase.CONNECTING, Signal.CLOSE): Phase.CLOSED,
    (Phase.SUBSCRIBING, Signal.CLOSE): Phase.CLOSED,
    (Phase.ONLINE, Signal.CLOSE): Phase.CLOSED,
    (Phase.WAITING, Signal.CLOSE): Phase.CLOSED,
}


@dataclass(frozen=True, slots=True)
class Policy:
    """How long to wait for what: pauses between attempts, and for each answer of the broker."""

    pause_min_s: float
    pause_max_s: float
    answer_timeout_s: float


@dataclass(frozen=True, slots=True)
class Line:
    """A line's phase, and when something must happen by itself.

    Attributes:
        phase: where it stands.
        failures: attempts that failed, and lines that were soon lost, since one lasted.
        deadline_s: on the monotonic clock, when `Signal.DUE` is due; None for never.
        since_s: when it came online.
    """

    phase: Phase = Phase.IDLE
    failures: int = 0
    deadline_s: float | None = None
    since_s: float = 0.0


def step(line: Line, signal: Signal, policy: Policy, now_s: float, chance: float) -> Line:
    """The line after a signal.

    Args:
        line: the line before.
        signal: what happened.
        policy: how long to wait for what.
        now_s: the monotonic clock.
        chance: a random number from 0 to 1, for the jitter.

    Returns:
        The same object where the signal means nothing in this phase.
    """
    phase = TRANSITIONS.get((line.phase, signal))
    if phase is None:
        return line
    if phase is Phase.WAITING:
        # A broker that throws us out each time we come is no broker that answers.
        lasted = line.phase is Phase.ONLINE and now_s - line.since_s >= policy.pause_max_s
        failures = 0 if lasted else line.failures
        return Line(phase, failures + 1, now_s + backoff_s(failures, policy, chance))
    if phase in (Phase.CONNECTING, Phase.SUBSCRIBING):
        return replace(line, phase=phase, deadline_s=now_s + policy.answer_timeout_s)
    return Line(phase, line.failures, None, now_s)


def due(line: Line, now_s: float) -> bool:
    """Whether the deadline has passed."""
    return line.deadline_s is not None and now_s >= line.deadline_s


def backoff_s(failures: int, policy: Policy, chance: float) -> float:
    """The pause after so many failures in a row: half of it certain, half of it chance."""
    most = min(policy.pause_min_s * 2.0 ** min(failures, 32), policy.pause_max_s)
    return most / 2 + chance * most / 2
