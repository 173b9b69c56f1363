"""What the updater needs of the device, and what it tells it: values and one protocol."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edgeml.errors import UpdateError
from edgeml.ota.probation import Incumbent


class SetAsideError(UpdateError):
    """The device wants its thread back: what is under way goes on with a later turn."""


@dataclass(frozen=True, slots=True)
class Change:
    """A step of the table that was taken, or a refusal that left everything as it was.

    Attributes:
        before: the state before.
        event: what happened; with equal states "refused" for what never became an update, and
            "mended" for what a start found broken on the disk.
        after: the state after.
        release: which release; "" where none is known.
        reason: why, beginning with a stable word; "" where it goes without saying.
        facts: numbers that were measured on the way.
        number: counts the steps of one model on one device; 0 for what is no step.
    """

    before: str
    event: str
    after: str
    release: str
    reason: str = ""
    facts: Mapping[str, float] = field(default_factory=dict)
    number: int = 0

    def __str__(self) -> str:
        """As a line for people: `activity-2: fetching -> probing (chunks_complete)`."""
        step = f"{self.before} -> {self.after} ({self.event})"
        return ": ".join(part for part in (self.release, step, self.reason) if part)

    @property
    def key(self) -> tuple[str, int] | None:
        """By what its events are told once: the model and the number; None for no step."""
        return (self.release.rpartition("-")[0], self.number) if self.number else None

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What goes home of it: kinds of events and their fields."""
        yield "update", self.as_dict()
        if self.event in ("unhealthy", "revoked"):
            yield "rollback", {"release": self.release, "reason": self.reason}

    def as_dict(self) -> dict[str, Any]:
        """The fields of the event that the outbox takes."""
        return {
            "from": self.before,
            "event": self.event,
            "to": self.after,
            "release": self.release,
            "reason": self.reason,
            **self.facts,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a probe said: why the model must not serve (None where it may), its p95 and its peak."""

    reason: str | None
    p95_ms: float | None = None
    peak_rss_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Shadowed:
    """What came of a shadow run.

    Attributes:
        reason: why the model must not serve; None where it may.
        facts: windows, agreement (0 to 1), candidate_us and incumbent_us, means a window.
    """

    reason: str | None
    facts: Mapping[str, float] = field(default_factory=dict)


class Host(Protocol):
    """What the updater needs of the device."""

    def factory_version(self) -> int:
        """The version of the model that the device was made with."""
        ...

    def misfit(self, path: Path) -> str | None:
        """Why a bundle is not for this device's sensors; None where it is."""
        ...

    def probe(self, path: Path | None) -> Verdict:
        """How a bundle does in a process of its own on this machine; None is the factory's."""
        ...

    def pieces(self) -> Iterable[bytes]:
        """The factory's bundle, cut into chunks; nothing where it cannot be."""
        ...

    def incumbent(self) -> Incumbent:
        """How the model that serves does."""
        ...

    def progress(self, here_bytes: int, all_bytes: int) -> None:
        """Take note of how much of a candidate has come.

        Raises:
            SetAsideError: the device has something to do that does not wait.
        """
        ...

    def shadow(self, path: Path, windows: int) -> None:
        """Let a bundle see the next windows beside the incumbent; its answers go nowhere.

        Raises:
            EdgeMLError: it cannot be loaded.
        """
        ...

    def shadowed(self) -> Shadowed | None:
        """What came of that; None while it goes on."""
        ...

    def swap(self, path: Path | None) -> None:
        """Serve with another bundle from the next window on; None is the factory's.

        Raises:
            EdgeMLError: it cannot be loaded; the one before serves on.
        """
        ...

    def report(self, change: Change) -> None:
        """Take note of a change."""
        ...
