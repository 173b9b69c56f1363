"""Whether a new model behaves, judged from its results: pure, constant memory.

A model on probation is compared with the one it replaced, by what that one's
last windows showed: how long it took and how sure it was. Four things end a
probation early: the process does not stay up, the outputs are not finite, they
change far less than the incumbent's did, or the model is slower or far less sure
than it may be. A sensor at rest gives the same answer for hours, so that sameness
says something only beside what the incumbent said lately; where nothing is known
of that, a probation goes on until an answer differs.

A model that has passed is watched on: each further thousand results are held against
what it showed before, and what is worse is an alarm, since an undoing is somebody's decision.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from edgeml.result import Result

_CONSTANT_WINDOWS: Final = 50
"""So many equal results are a model that does not look at its input, at the least."""

_CONSTANT_FACTOR: Final = 3
"""And so many times as many as the incumbent gave in a row."""

_PATIENCE: Final = 10
"""Probations long that a model may give one answer where no incumbent was watched."""

CRASHES: Final = "crashes: "
"""How the reason of a model begins that cannot be loaded or run."""

HICCUP_US: Final = 1000.0
"""What a window may always take longer: so much a busy processor does to any fast model."""

RECENT: Final = 1000
"""Results after which means begin anew, so that they speak of lately."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model on probation must keep.

    Attributes:
        windows: results that it must give before it is believed.
        starts: of the process before it is called a crash loop.
        slower: how many times the incumbent's mean time a window may take; a millisecond more
            it always may.
        less_sure: how far the mean score may fall below the incumbent's, 0 to 1.
        least: results before time and score are compared.
    """

    windows: int = 200
    starts: int = 3
    slower: float = 2.0
    less_sure: float = 0.3
    least: int = 50


@dataclass(frozen=True, slots=True)
class Incumbent:
    """What is known of the model before.

    Attributes:
        mean_us: the mean time of a window; None where nothing is known.
        mean_score: the mean score; None where nothing is known.
        longest: the most results in a row that were the same.
        count: results that this was seen in.
    """

    mean_us: float | None = None
    mean_score: float | None = None
    longest: int = 0
    count: int = 0


class Means:
    """Mean time and mean score of the results so far, and how long they stayed the same."""

    def __init__(self) -> None:
        self.count = 0
        self.same = 0
        self.longest = 0
        self._last: tuple[str | None, float] | None = None
        self._time_us = 0.0
        self._score = 0.0

    def add(self, result: Result) -> None:
        """Take a result into account; one whose score is not finite counts by its time only."""
        self.count += 1
        self._time_us += result.pre_us + result.invoke_us + result.post_us
        self._score += result.score if math.isfinite(result.score) else 0.0
        said = (result.label, result.score)
        self.same = self.same + 1 if said == self._last else 1
        self._last = said
        self.longest = max(self.longest, self.same)

    @property
    def incumbent(self) -> Incumbent:
        """The means, where there is something to take them of."""
        if not self.count:
            return Incumbent()
        return Incumbent(
            self._time_us / self.count, self._score / self.count, self.longest, self.count
        )


def longest(before: float, slower: float, hiccup: float) -> float:
    """What a window may take that took `before`: so many times that, or a hiccup more."""
    return max(before * slower, before + hiccup)


def worse(now: Incumbent, before: Incumbent, limits: Limits, *, confident: bool) -> str | None:
    """How a model is slower or less sure than it may be beside another, or its earlier self.

    Args:
        now: what is judged.
        before: what it is held against.
        limits: how far apart they may be.
        confident: whether scores say how sure the model is.

    Returns:
        A reason that begins with `slow: ` or `unsure: `; None where it is neither.
    """
    if now.mean_us is not None and before.mean_us is not None:
        most_us = longest(before.mean_us, limits.slower, HICCUP_US)
        if now.mean_us > most_us:
            return f"slow: {now.mean_us:.0f} us a window, more than {most_us:.0f}"
    if confident and now.mean_score is not None and before.mean_score is not None:
        least = before.mean_score - limits.less_sure
        if now.mean_score < least:
            return f"unsure: a mean score of {now.mean_score:.2f}, less than {least:.2f}"
    return None


class Lately:
    """How the model that serves does: of this process as soon as it says enough, else from before.

    Args:
        before: what the journal remembers of it.
        limits: what results say enough, and how far they may fall behind the first.
        confident: whether scores say how sure the model is.
    """

    def __init__(self, before: Incumbent, limits: Limits, *, confident: bool = True) -> None:
        self._before = before
        self._limits = limits
        self._confident = confident
        self._first = before if before.count >= limits.least else None
        self._alarmed = False
        self._means = Means()

    def add(self, result: Result) -> str | None:
        """Take a result into account.

        Returns:
            How the last thousand were worse than the first, as `worse` says it, where those
            before them were not; None otherwise, and most of the time.
        """
        alarm = None
        if self._means.count >= RECENT:
            self._before, self._means = self._means.incumbent, Means()
            alarm = self._compare(self._before)
        self._means.add(result)
        return alarm

    def _compare(self, now: Incumbent) -> str | None:
        if self._first is None:
            self._first = now
            return None
        reason = worse(now, self._first, self._limits, confident=self._confident)
        known, self._alarmed = self._alarmed, reason is not None
        return None if known else reason

    @property
    def incumbent(self) -> Incumbent:
        """What a successor is held against."""
        now = self._means.incumbent
        if now.count < min(self._limits.least, self._before.count):
            return self._before
        return replace(now, longest=max(now.longest, self._before.longest))


def unsound(result: Result) -> str | None:
    """Why a result is none, beginning with `nan: `; None where it is one."""
    if not math.isfinite(result.score):
        return f"nan: a score of {result.score}"
    return "nan: an output is not a number" if any(map(math.isnan, result.outputs)) else None


class Probation:
    """One model's trial.

    Args:
        limits: what it must keep.
        incumbent: what it is held against.
        starts: how often the process has started with it.
        confident: whether scores say how sure the model is.
    """

    def __init__(
        self, limits: Limits, incumbent: Incumbent, starts: int = 0, *, confident: bool = True
    ) -> None:
        self._limits = limits
        self._incumbent = incumbent
        self._starts = starts
        self._confident = confident
        self._means = Means()
        known = incumbent.count >= limits.least
        self._may_repeat = (
            max(_CONSTANT_WINDOWS, _CONSTANT_FACTOR * incumbent.longest)
            if known
            else max(_CONSTANT_WINDOWS, _PATIENCE * limits.windows)
        )
        self._must_vary = not known

    @property
    def passed(self) -> bool:
        """Whether it has shown itself long enough."""
        means = self._means
        varied = means.longest < means.count
        return means.count >= self._limits.windows and (varied or not self._must_vary)

    @property
    def seen(self) -> Incumbent:
        """How it did so far: what its own successor is held against, once it has passed."""
        return self._means.incumbent

    def crashes(self) -> str | None:
        """Why the process has started too often with this model; None where it has not."""
        if self._starts > self._limits.starts:
            return f"{CRASHES}{self._starts} starts before {self._limits.windows} results"
        return None

    def push(self, result: Result) -> str | None:
        """Take a result into account.

        Returns:
            Why the model must go, beginning with a stable word: nan, constant, slow,
            unsure; None where it may stay.
        """
        self._means.add(result)
        reason = unsound(result)
        if reason is not None:
            return reason
        if self._means.same >= self._may_repeat:
            return (
                f"constant: {self._means.same} results in a row were "
                f"{result.label!r} {result.score:g}"
            )
        if self._means.count < self._limits.least:
            return None
        now = self._means.incumbent
        return worse(now, self._incumbent, self._limits, confident=self._confident)
