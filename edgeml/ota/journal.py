"""The journal: one small file that says which model serves, and where an update is.

It is replaced whole. Whatever else lies in the store's folder counts only where
the journal names it, so activation is one rename, and so is undoing it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from types import MappingProxyType
from typing import Any, Final

from edgeml.errors import UpdateError
from edgeml.jsonread import Fields
from edgeml.ota.host import Change
from edgeml.ota.probation import Incumbent
from edgeml.ota.states import Event, State, follow
from edgeml.releases.document import read_document
from edgeml.releases.names import checked_digest, parse_release_id

MAX_JOURNAL_BYTES: Final = 256 << 10
MAX_BAD: Final = 64
"""Releases remembered as bad, the latest ones; versions only grow, so old ones do not return."""
_REASON_CHARS: Final = 300
"""Kept of a reason, so that all of them fit; a character may take twelve bytes."""
_LATELY: Final = 8
"""Steps that are kept to be told: more than there are between two commits of an outbox."""

Why = tuple[str, Mapping[str, float]]
"""The reason of a step and what was measured on the way, as its `Change` says them."""
NO_REASON: Final[Why] = ("", MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Held:
    """A bundle in the store: its release and its file's SHA-256."""

    release: str
    digest: str

    def __post_init__(self) -> None:
        parse_release_id(self.release)
        checked_digest(self.digest)

    @property
    def version(self) -> int:
        """The model's version."""
        return parse_release_id(self.release)[1]


@dataclass(frozen=True, slots=True)
class Journal:
    """What the store knows.

    Attributes:
        state: of the update under way.
        current: the bundle that serves; None for the factory's model.
        previous: the one before, for going back; None for the factory's model.
        candidate: what is being fetched or tried.
        starts: of the process since the current one was activated, while on probation; those
            that ended as somebody wished do not count.
        bad: releases that failed on this device, with the reason.
        floor_s: the latest signed time seen; a clock behind it is wrong.
        pinned: the one release that may be installed; "" for none, None where any may.
        tries: of probing the candidate, each counted before it begins.
        incumbent: how the model did that serves, or the one that probation compares with.
        floor_root: the version of the root under which the floor was learned.
        agreed: the release that somebody let in last, at any hour.
        steps: taken so far.
        lately: the last of them. A start tells them once more, because the process may have been
            killed between this file and the outbox's; by their numbers each is heard once.
    """

    state: State = State.IDLE
    current: Held | None = None
    previous: Held | None = None
    candidate: Held | None = None
    starts: int = 0
    bad: Mapping[str, str] = field(default_factory=dict)
    floor_s: int = 0
    pinned: str | None = None
    tries: int = 0
    incumbent: Incumbent = field(default_factory=Incumbent)
    floor_root: int = 0
    agreed: str | None = None
    steps: int = 0
    lately: tuple[Change, ...] = ()

    def after(self, event: Event, why: Why = NO_REASON, **changes: Any) -> "Journal":
        """The journal one step further in the table of states.

        Raises:
            UpdateError: there is no such step.
        """
        after = replace(self, state=follow(self.state, event), **changes)
        if event is Event.ROLLED_BACK:
            # The end of a step that was taken in two.
            ended = tuple(replace(last, after=after.state.value) for last in self.lately[-1:])
            return replace(after, lately=(*self.lately[:-1], *ended))
        held = self.candidate or after.candidate or self.current
        reason, facts = why
        change = Change(
            self.state.value,
            event.value,
            after.state.value,
            "" if held is None else held.release,
            reason[:_REASON_CHARS],
            {name: value for name, value in facts.items() if isfinite(value)},
            self.steps + 1,
        )
        return replace(after, steps=change.number, lately=(*self.lately, change)[-_LATELY:])

    def with_bad(self, release: str, reason: str) -> "Journal":
        """Remember a release as bad."""
        others = {name: why for name, why in self.bad.items() if name != release}
        kept = dict([*others.items(), (release, reason[:_REASON_CHARS])][-MAX_BAD:])
        return replace(self, bad=kept)

    def encode(self) -> bytes:
        """The file's bytes."""
        return json.dumps({"v": 1, **asdict(self)}, indent=1).encode()

    @classmethod
    def parse(cls, data: bytes) -> "Journal":
        """Read a journal.

        Raises:
            UpdateError: it is damaged, or of another version.
        """
        what = "update journal"
        document = read_document(data, what, MAX_JOURNAL_BYTES)
        fields = Fields(document, what, UpdateError, ignore_unknown=True)
        state = fields.text("state")
        if state not in {one.value for one in State}:
            raise UpdateError(f"{what}: there is no state {state[:99]!r}")
        bad = fields.raw.get("bad")
        if not isinstance(bad, dict) or not all(isinstance(why, str) for why in bad.values()):
            raise UpdateError(f"{what}: bad is not a list of reasons")
        return cls(
            state=State(state),
            current=_held(fields, "current"),
            previous=_held(fields, "previous"),
            candidate=_held(fields, "candidate"),
            starts=fields.integer("starts"),
            bad=bad,
            floor_s=fields.integer("floor_s"),
            pinned=_pinned(fields),
            tries=fields.integer("tries", default=0),
            incumbent=_incumbent(fields),
            floor_root=fields.integer("floor_root", default=0),
            agreed=fields.optional_text("agreed"),
            steps=fields.integer("steps", default=0),
            lately=tuple(map(_change, fields.children("lately"))) if "lately" in document else (),
        )


def _held(fields: Fields, key: str) -> Held | None:
    child = fields.optional_child(key)
    return None if child is None else Held(child.text("release"), child.text("digest"))


def _change(fields: Fields) -> Change:
    facts = fields.child("facts")
    return Change(
        fields.text("before"),
        fields.text("event"),
        fields.text("after"),
        fields.text("release"),
        fields.text("reason"),
        {name: facts.number(name) for name in facts.raw},
        fields.integer("number"),
    )


def _pinned(fields: Fields) -> str | None:
    """Earlier journals said true or false."""
    if isinstance(fields.value("pinned"), bool):
        return "" if fields.boolean("pinned") else None
    return fields.optional_text("pinned")


def _incumbent(fields: Fields) -> Incumbent:
    child = fields.optional_child("incumbent")
    if child is None:
        return Incumbent()
    return Incumbent(
        child.optional_number("mean_us"),
        child.optional_number("mean_score"),
        child.integer("longest", default=0),
        child.integer("count", default=0),
    )
