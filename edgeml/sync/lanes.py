"""Which rows are read next: the lanes of a delivery and how far each of them is.

Rows go out by what they are (events before results before samples), by whether
they went out before, and by age: the backlog and what has just been produced
take turns. A lane knows numbers only; whether a number is on disk is found out
by reading.
"""

from dataclasses import dataclass, field
from typing import Final

from edgeml.sync.flow import Lane, Read
from edgeml.sync.spans import Spans

_FOREVER: Final = (1 << 63) - 1
_NONE: Final = Spans()
_EVENTS: Final = (Lane.EVENTS_AGAIN, Lane.NEW_EVENTS, Lane.OLD_EVENTS)
_NEW_FIRST: Final = (Lane.RESULTS_AGAIN, Lane.NEW_RESULTS, Lane.OLD_RESULTS)
_OLD_FIRST: Final = (Lane.RESULTS_AGAIN, Lane.OLD_RESULTS, Lane.NEW_RESULTS)
_SAMPLES: Final = (Lane.SAMPLES_AGAIN, Lane.SAMPLES)


@dataclass(slots=True)
class _Cursor:
    """Where a lane's next read begins and ends; empty when first > last."""

    first: int
    last: int
    descending: bool = False


@dataclass(slots=True)
class Lanes:
    """What has not been sent since the line came up, and what is to be sent again.

    Attributes:
        suspects: numbers that somebody refused in company; each goes in a message of its own.
    """

    suspects: Spans = field(default_factory=Spans)
    _again: dict[Lane, Spans] = field(default_factory=dict)
    _cursors: dict[Lane, _Cursor] = field(default_factory=dict)
    _probed: dict[Lane, int] = field(default_factory=dict)
    _new_turn: bool = True
    _hold_results: bool = False
    _hold_events: bool = False

    def restart(self, last: int) -> None:
        """Begin anew: up to `last` is the backlog, beyond it what will be produced."""
        self._again.clear()
        self._probed.clear()
        self._hold_results = self._hold_events = False
        self._cursors = {
            Lane.NEW_EVENTS: _Cursor(last + 1, _FOREVER),
            Lane.OLD_EVENTS: _Cursor(1, last, descending=True),
            Lane.NEW_RESULTS: _Cursor(last + 1, _FOREVER),
            Lane.OLD_RESULTS: _Cursor(1, last),
            Lane.SAMPLES: _Cursor(1, _FOREVER),
        }

    def rescan_events(self, last: int) -> None:
        """Look at all events up to `last` once more: there are new gaps among them."""
        self._cursors[Lane.OLD_EVENTS] = _Cursor(1, last, descending=True)

    def send_again(self, lane: Lane, spans: Spans) -> None:
        """Send numbers another time, in one of the lanes for that."""
        self._again[lane] = self._again.get(lane, Spans()).union(spans)

    def sent(self, read: Read, spans: Spans) -> None:
        """A read ended in a message with these numbers."""
        first, last = spans.ranges[0][0], spans.ranges[-1][1]
        if read.only is not None:
            # What lies before the last sent number and was not sent is not there any more.
            self._leave(read.lane, read.only, last)
            self._probed[read.lane] = last
            return
        cursor = self._cursors[read.lane]
        if read.descending:
            cursor.last = first - 1
        else:
            cursor.first = last + 1

    def nothing(self, read: Read) -> None:
        """A read found nothing."""
        if read.only is not None:
            self._leave(read.lane, read.only, _FOREVER)
            return
        cursor = self._cursors[read.lane]
        # What is still in memory will have greater numbers than any that exists now.
        if cursor.last == _FOREVER:
            cursor.first = max(cursor.first, read.last + 1)
        else:
            cursor.first, cursor.last = 1, 0

    def hold(self, read: Read) -> None:
        """The link's allowance forbids a read; events may go when results may not."""
        self._hold_results = True
        self._hold_events = read.of_events

    def allow(self) -> None:
        """The link's allowance permits everything again."""
        self._hold_results = self._hold_events = False

    def has_new(self, last: int) -> bool:
        """Whether there may be new results up to `last`."""
        return self._cursors[Lane.NEW_RESULTS].first <= last and not self._hold_results

    def choose(self, skip: Spans, last: int, *, probing: bool, worth: int = 1) -> Read | None:
        """The next read.

        Args:
            skip: what is in flight.
            last: no greater number may be sent.
            probing: one message at a time is tried: never the same twice in a row, because it may
                be the message that is wrong and not the line.
            worth: fewer new results than this are not worth a message.
        """
        if not probing:
            self._probed.clear()
        read = self._first_of_lanes(skip, last, worth)
        if read is None and self._probed:
            self._probed.clear()
            read = self._first_of_lanes(skip, last, worth)
        return read

    def _first_of_lanes(self, skip: Spans, last: int, worth: int) -> Read | None:
        self._new_turn = not self._new_turn
        lanes: tuple[Lane, ...] = () if self._hold_events else _EVENTS
        if not self._hold_results:
            lanes += (_NEW_FIRST if self._new_turn else _OLD_FIRST) + _SAMPLES
        again, cursors = self._again, self._cursors
        for lane in lanes:
            # Most lanes are empty, every time, and a device asks after every event.
            cursor = cursors.get(lane)
            if lane not in again and (cursor is None or cursor.first > min(cursor.last, last)):
                continue
            read = self._read_of(lane, skip, last)
            if read is None:
                continue
            if lane is not Lane.NEW_RESULTS or read.last - read.first + 1 >= worth:
                return read
        return None

    def _read_of(self, lane: Lane, skip: Spans, last: int) -> Read | None:
        cursor = self._cursors.get(lane)
        if cursor is None:  # one of those for another attempt
            only = self._again.get(lane, _NONE)
            only = only.above(self._probed.get(lane, 0)) if only else only
            return Read(lane, *_ends(only), False, skip, only, self.suspects) if only else None
        last = min(cursor.last, last)
        if cursor.first > last:
            return None
        return Read(lane, cursor.first, last, cursor.descending, skip, None, self.suspects)

    def _leave(self, lane: Lane, only: Spans, last: int) -> None:
        # More may have come in since the read was chosen.
        done = only.minus(only.above(last))
        left = self._again.get(lane, Spans()).minus(done)
        self._again[lane] = left
        if not left:
            del self._again[lane]


def again_lane(read: Read) -> Lane:
    """The lane in which what a read found is sent again."""
    if read.of_events:
        return Lane.EVENTS_AGAIN
    return Lane.SAMPLES_AGAIN if read.of_samples else Lane.RESULTS_AGAIN


def _ends(spans: Spans) -> tuple[int, int]:
    return spans.ranges[0][0], spans.ranges[-1][1]
