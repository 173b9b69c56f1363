"""A session on a bench: an outbox of numbers, a clock that the test holds, and what was sent."""

from edgeml.sync import flow
from edgeml.sync.flow import Lane
from edgeml.sync.messages import Ack
from edgeml.sync.session import Policy, Session
from edgeml.sync.spans import Spans


class Bench:
    """A session, the numbers that its outbox holds, and the messages that it sent."""

    def __init__(
        self,
        rows: int = 0,
        *,
        by_fleet: bool = True,
        window: int = 4,
        per_batch: int = 10,
        vouched: int | None = None,
        full_rows: int = 1,
    ) -> None:
        policy = Policy("box", by_fleet, window, resend_after_s=10.0, full_rows=full_rows)
        self.session = Session(policy, rows + 1, 0, vouched)
        self.per_batch = per_batch
        self.events: set[int] = set()
        self.samples: set[int] = set()
        self.sent: list[tuple[Lane, Spans]] = []
        self.others: list[flow.Effect] = []
        self.now_s = 0.0
        self.hold_results = False

    def tell(self, event: flow.Event) -> list[flow.Effect]:
        told: list[flow.Event] = [event]
        others: list[flow.Effect] = []
        while told:
            for effect in self.session.handle(told.pop(0), self.now_s):
                if isinstance(effect, flow.Read):
                    told.append(self.answer(effect))
                else:
                    others.append(effect)
        self.others += others
        return others

    def answer(self, read: flow.Read) -> flow.Event:
        if self.hold_results and not read.of_events:
            return flow.Postponed(read)
        numbers = [
            n
            for n in range(read.first, min(read.last, self.session.next_seq - 1) + 1)
            if (n in self.events, n in self.samples) == (read.of_events, read.of_samples)
            and n not in read.skip
            and (read.only is None or n in read.only)
        ]
        if numbers and numbers[0] in read.alone:
            numbers = numbers[:1]
        chosen = numbers[-self.per_batch :] if read.descending else numbers[: self.per_batch]
        if not chosen:
            return flow.Nothing(read)
        spans = Spans.of((n, n) for n in chosen)
        self.sent.append((read.lane, spans))
        return flow.Sent(read, len(self.sent), spans, len(chosen), f"message {len(self.sent)}")

    def commit(
        self, next_seq: int, gaps: Spans | None = None, isolated: Spans | None = None
    ) -> None:
        self.tell(flow.Committed(next_seq, gaps or Spans(), None, isolated or Spans()))

    def ack(
        self,
        mark: int,
        *above: tuple[int, int],
        ingest: str = "a.1",
        greeting: bool = False,
        retained: bool = False,
    ) -> list[flow.Effect]:
        return self.tell(flow.Acked(Ack("box", mark, Spans.of(above), ingest, greeting), retained))

    def ranges(self) -> list[tuple[int, int]]:
        return [r for _, spans in self.sent for r in spans.ranges]
