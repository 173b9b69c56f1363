"""Messages on their way: sent, and not confirmed yet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeml.sync.flow import Lane, Sent
from edgeml.sync.lanes import again_lane
from edgeml.sync.patience import Estimate
from edgeml.sync.spans import Spans

_NONE = Spans()


@dataclass(frozen=True, slots=True)
class Flight:
    """One message on its way.

    `found_in` is the lane in which its rows were found, `again` the one for another attempt.
    """

    token: int
    spans: Spans
    sent_s: float
    found_in: Lane
    again: Lane
    rows: int
    digest: str

    @classmethod
    def of(cls, sent: Sent, now_s: float) -> "Flight":
        """The message that has just been sent."""
        lane = sent.read.lane
        again = again_lane(sent.read)
        return cls(sent.token, sent.spans, now_s, lane, again, sent.rows, sent.digest)

    @property
    def sent_once(self) -> bool:
        """Whether its rows were in no other message of this connection."""
        return self.found_in is not self.again


def spans_in(flights: Sequence[Flight]) -> Spans:
    """All numbers that these messages carry."""
    if len(flights) < 2:
        return flights[0].spans if flights else _NONE
    return Spans.of(r for flight in flights for r in flight.spans.ranges)


def parted(flights: Iterable[Flight], stored: Spans) -> tuple[list[Flight], list[Flight]]:
    """The messages of which everything is stored, and the others."""
    done: list[Flight] = []
    others: list[Flight] = []
    for flight in flights:
        (others if flight.spans.minus(stored) else done).append(flight)
    return done, others


def learnt(estimate: Estimate, answered: Iterable[Flight], now_s: float) -> Estimate:
    """The estimate after these messages were answered, as far as they were sent once only."""
    for flight in answered:
        if flight.sent_once:
            estimate = estimate.after(now_s - flight.sent_s)
    return estimate


def company_due_s(flights: Iterable[Flight], estimate: Estimate) -> float | None:
    """Until when new results that fill no message wait: until the last of them are answered.

    So there is one small message for each answer, however late answers come
    (Nagle's rule, RFC 896); but a message that is lost delays the next no
    longer than an answer takes. None where nothing is waited for.
    """
    sent_s = [f.sent_s for f in flights if f.found_in is Lane.NEW_RESULTS]
    return max(sent_s) + estimate.due_s if sent_s else None
