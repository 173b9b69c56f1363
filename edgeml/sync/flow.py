"""The vocabulary of delivery: what a session is told, and what it asks for.

Only numbers travel here, never payloads: the session decides by sequence
numbers, and whoever drives it knows the outbox and the line.
"""

from dataclasses import dataclass, field
from enum import Enum

from edgeml.sync.messages import Ack
from edgeml.sync.spans import Spans


class Phase(Enum):
    """Whether messages can be sent."""

    OFFLINE = "offline"
    ONLINE = "online"
    ROTATING = "rotating"

    __hash__ = object.__hash__


class Lane(Enum):
    """Which rows a read is for; in the order of their precedence."""

    EVENTS_AGAIN = "events again"
    RESULTS_AGAIN = "results again"
    NEW_EVENTS = "new events"
    OLD_EVENTS = "old events"
    NEW_RESULTS = "new results"
    OLD_RESULTS = "old results"
    SAMPLES_AGAIN = "samples again"
    SAMPLES = "samples"

    # Enum's own hashes the name, in Python; there is one member of each, and it is looked up often.
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Up:
    """The line is there; the broker takes so many unanswered messages."""

    receive_maximum: int


@dataclass(frozen=True, slots=True)
class Down:
    """The line is gone."""


@dataclass(frozen=True, slots=True)
class Committed:
    """Rows reached the disk: numbers below `next_seq` exist, `gaps` now cover some of them.

    `vouched` is the outbox's, None where nobody needs to vouch for anything. Each of the rows in
    `isolated` is an entry of its own by now.
    """

    next_seq: int
    gaps: Spans
    vouched: int | None = None
    isolated: Spans = field(default_factory=Spans)


@dataclass(frozen=True, slots=True)
class Sent:
    """A read was answered: a message with these numbers is on the line under this token.

    `rows` says how many rows it has, `digest` names its payload.
    """

    read: "Read"
    token: int
    spans: Spans
    rows: int = 1
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Nothing:
    """A read found nothing."""

    read: "Read"


@dataclass(frozen=True, slots=True)
class Postponed:
    """A read may not be answered now: the link's allowance is spent, or the hours are quiet."""

    read: "Read"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What was postponed may be asked for again."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The broker answered a message; `reached` is False where nobody is subscribed."""

    token: int
    reached: bool


@dataclass(frozen=True, slots=True)
class Acked:
    """The ingest's word on how far the store is; `retained` where it is older than this line."""

    ack: Ack
    retained: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The ingest cannot read the message with this digest, and never will."""

    digest: str


@dataclass(frozen=True, slots=True)
class Stored:
    """The store has the messages with these digests."""

    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = (
    Up
    | Down
    | Committed
    | Sent
    | Nothing
    | Postponed
    | Allowed
    | Answered
    | Acked
    | Refused
    | Stored
    | Tick
)


@dataclass(frozen=True, slots=True)
class Read:
    """Take rows of a lane with numbers between two and send one message of them.

    Numbers in `skip` are in flight already; where `only` is given, no other numbers are wanted.
    An entry with a number in `alone` goes without company.
    """

    lane: Lane
    first: int
    last: int
    descending: bool
    skip: Spans
    only: Spans | None = None
    alone: Spans = field(default_factory=Spans)

    @property
    def of_events(self) -> bool:
        """Whether events are wanted, gaps among them."""
        return self.lane in (Lane.EVENTS_AGAIN, Lane.NEW_EVENTS, Lane.OLD_EVENTS)

    @property
    def of_samples(self) -> bool:
        """Whether samples are wanted; neither they nor events are results."""
        return self.lane in (Lane.SAMPLES_AGAIN, Lane.SAMPLES)


@dataclass(frozen=True, slots=True)
class LetGo:
    """These numbers need not be kept; `mark` is the store's, None where a broker answered."""

    acked: Spans
    mark: int | None


@dataclass(frozen=True, slots=True)
class Audit:
    """Compare what is on disk with what the store has, and declare what is in neither."""

    ack: Ack


@dataclass(frozen=True, slots=True)
class Rotate:
    """The store knows numbers that this outbox never gave: become another outbox."""


@dataclass(frozen=True, slots=True)
class Isolate:
    """Somebody refused these numbers together: store each row by itself, and weed what is none."""

    spans: Spans


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Somebody refused this row by itself: a gap takes its place."""

    spans: Spans


@dataclass(frozen=True, slots=True)
class Trust:
    """The store knows no more than this outbox gave: it is no old copy, vouch for what it holds."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Nobody has said yet how far the store is: announce the device again."""


Effect = Read | LetGo | Audit | Rotate | Isolate | GiveUp | Trust | Ask
