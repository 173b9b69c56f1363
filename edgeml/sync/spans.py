"""Which sequence numbers are accounted for, as few inclusive ranges instead of many numbers.

The outbox, the session and the store all ask the same question, how far is
everything there, and answer it with this set. A device that never lost its
link has one range; each hole adds one.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Spans:
    """A set of whole numbers: inclusive ranges, ascending, never touching one another."""

    ranges: tuple[Range, ...] = ()

    @classmethod
    def of(cls, ranges: Iterable[Range]) -> "Spans":
        """The union of ranges in any order.

        Raises:
            ValueError: a range ends before it begins.
        """
        merged: list[Range] = []
        for first, last in sorted(ranges):
            if last < first:
                raise ValueError(f"the range {first} to {last} ends before it begins")
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        return cls(tuple(merged))

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self.ranges, (number, _BEYOND)) - 1
        return at >= 0 and self.ranges[at][1] >= number

    @property
    def count(self) -> int:
        """How many numbers the set holds."""
        return sum(last - first + 1 for first, last in self.ranges)

    def covers(self, first: int, last: int) -> bool:
        """Whether every number from `first` to `last` is in the set."""
        at = bisect_right(self.ranges, (first, _BEYOND)) - 1
        return at >= 0 and self.ranges[at][1] >= last

    def touches(self, first: int, last: int) -> bool:
        """Whether any number from `first` to `last` is in the set."""
        at = bisect_right(self.ranges, (last, _BEYOND)) - 1
        return at >= 0 and self.ranges[at][1] >= first

    def plus(self, first: int, last: int) -> "Spans":
        """The set with one more range."""
        low = bisect_left(self.ranges, (first, first))
        if low and self.ranges[low - 1][1] >= first - 1:
            low -= 1
        high = low
        while high < len(self.ranges) and self.ranges[high][0] <= last + 1:
            first = min(first, self.ranges[high][0])
            last = max(last, self.ranges[high][1])
            high += 1
        return Spans((*self.ranges[:low], (first, last), *self.ranges[high:]))

    def union(self, other: "Spans") -> "Spans":
        """The numbers in either set."""
        return Spans.of((*self.ranges, *other.ranges)) if other else self

    def minus(self, other: "Spans") -> "Spans":
        """The numbers in this set and not in the other."""
        if not self.ranges or not other.ranges:
            return self
        left: list[Range] = []
        for first, last in self.ranges:
            for other_first, other_last in other.ranges:
                if other_last < first:
                    continue
                if other_first > last:
                    break
                if other_first > first:
                    left.append((first, other_first - 1))
                first = other_last + 1
            if first <= last:
                left.append((first, last))
        return Spans(tuple(left))

    def above(self, number: int) -> "Spans":
        """The numbers greater than `number`."""
        kept = ((max(first, number + 1), last) for first, last in self.ranges if last > number)
        return Spans(tuple(kept))

    def reach(self, start: int = 1) -> int:
        """The last of the unbroken run that begins at `start`; `start - 1` where there is none."""
        at = bisect_right(self.ranges, (start, _BEYOND)) - 1
        return self.ranges[at][1] if at >= 0 and self.ranges[at][1] >= start else start - 1


_BEYOND = 1 << 63
"""Greater than any sequence number, which are 63 bits wide."""
