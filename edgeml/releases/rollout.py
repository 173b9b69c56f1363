"""The rule that says which devices of a group get a release, and when: one pure decision.

A device's bucket is a number from 0 to 9999 that follows from the release and
its own id, so every device knows it without asking, each release begins with
other devices, and a rule that grows from 10 to 50 % keeps the first 10.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final

from edgeml.errors import UpdateError
from edgeml.jsonread import Fields
from edgeml.releases.document import read_document
from edgeml.releases.names import checked_name, parse_release_id, release_id

BUCKETS: Final = 10_000
MAX_RULE_BYTES: Final = 4 << 10
MAX_SPREAD_S: Final = 30 * 86_400
_MAX_TIME_S: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Rule:
    """Who gets a release, and when.

    Attributes:
        release: which one, `activity-2`.
        group: the devices it speaks to.
        upto: devices whose bucket is below it get the release; 0 halts, 10,000 is everybody.
        issued_s: unix time since when so many get it; the spread begins there.
        expires_s: unix time from which the rule is void, unless it was renewed.
        spread_s: the devices' downloads are spread over so long.
        hours: the hours of the device's own day between which it installs, such as (2, 5) or
            (22, 4); None for any.

    Raises:
        UpdateError: a value out of its bounds.
    """

    release: str
    group: str
    upto: int
    issued_s: int
    expires_s: int
    spread_s: int = 0
    hours: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        parse_release_id(self.release)
        checked_name(self.group, "group")
        for what, value, most in (
            ("upto", self.upto, BUCKETS),
            ("spread_s", self.spread_s, MAX_SPREAD_S),
            ("issued_s", self.issued_s, _MAX_TIME_S),
            ("expires_s", self.expires_s, _MAX_TIME_S),
        ):
            if not 0 <= value <= most:
                raise UpdateError(f"rollout rule: {what} is {value}; it should be 0 to {most}")
        if self.hours is not None:
            start, end = self.hours
            if not (0 <= start < 24 and 0 <= end <= 24 and start != end):
                raise UpdateError(
                    f"rollout rule: hours are {start}-{end}; they should be two of 0 to 24"
                )

    @property
    def name(self) -> str:
        """The model's name."""
        return parse_release_id(self.release)[0]

    @property
    def version(self) -> int:
        """The model's version."""
        return parse_release_id(self.release)[1]

    def encode(self) -> bytes:
        """The rule as the bytes that are signed; equal rules give equal bytes."""
        document = {
            "v": 1,
            "release": self.release,
            "name": self.name,
            "version": self.version,
            "group": self.group,
            "upto": self.upto,
            "issued_s": self.issued_s,
            "expires_s": self.expires_s,
            "spread_s": self.spread_s,
            "hours": self.hours,
        }
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes) -> "Rule":
        """Read a rule.

        Raises:
            UpdateError: it is not one of this version.
        """
        what = "rollout rule"
        document = read_document(data, what, MAX_RULE_BYTES)
        fields = Fields(document, what, UpdateError, ignore_unknown=True)
        hours = None if fields.value("hours") is None else fields.integers("hours")
        if hours is not None and len(hours) != 2:
            raise UpdateError(f"{what}: hours are {len(hours)} numbers; they should be 2")
        release = fields.text("release")
        if release_id(fields.text("name"), fields.integer("version")) != release:
            raise UpdateError(f"{what}: name and version are not those of {release[:99]!r}")
        return cls(
            release=release,
            group=fields.text("group"),
            upto=fields.integer("upto"),
            issued_s=fields.integer("issued_s"),
            expires_s=fields.integer("expires_s"),
            spread_s=fields.integer("spread_s"),
            hours=None if hours is None else (hours[0], hours[1]),
        )


@dataclass(frozen=True, slots=True)
class Install:
    """Now."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not before a unix time."""

    until_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Ignore:
    """Not by this rule; the reason begins with a stable word."""

    reason: str


Decision = Install | Wait | Ignore


def bucket_of(release: str, device: str) -> int:
    """A device's place among the buckets of a release, 0 to 9999."""
    return int.from_bytes(hashlib.sha256(f"{release}\0{device}".encode()).digest()[:4], "big") % (
        BUCKETS
    )


def decide(
    rule: Rule, device: str, group: str, now_s: float, local_hour: float, installed: int = 0
) -> Decision:
    """What a device does about a rule.

    Args:
        rule: signed by the rollout role.
        device: the device's id.
        group: the group it is in.
        now_s: unix time, as far as the device knows.
        local_hour: its own time of day, 0 to 24; half past two is 2.5.
        installed: the version of this model that it runs; 0 for none.
    """
    refusal = _refusal(rule, device, group, now_s, installed)
    if refusal is not None:
        return Ignore(refusal)
    # A clock that is behind the rule's own signed time is wrong by at least that much.
    now_s = max(now_s, rule.issued_s)
    start_s = rule.issued_s + rule.spread_s * bucket_of(rule.release, device) / rule.upto
    if now_s < start_s:
        return Wait(start_s, "spread: other devices download first")
    if rule.hours is not None and not within(rule.hours, local_hour):
        pause_s = (rule.hours[0] - local_hour) % 24 * 3600
        return Wait(now_s + pause_s, f"hours: from {rule.hours[0]:02d}:00 on")
    return Install()


def within(hours: tuple[int, int], local_hour: float) -> bool:
    """Whether an hour of the day lies in a range that may go over midnight."""
    start, end = hours
    return start <= local_hour < end if start < end else local_hour >= start or local_hour < end


def _refusal(rule: Rule, device: str, group: str, now_s: float, installed: int) -> str | None:
    if rule.group != group:
        return f"group: the rule is for {rule.group}, this device is in {group}"
    if rule.upto == 0:
        return f"halted: {rule.release} is for nobody now"
    if now_s >= rule.expires_s:
        return f"expired: the rule for {rule.release} was not renewed"
    if installed == rule.version:
        return f"installed: {rule.release} is what runs"
    if installed > rule.version:
        return f"older: version {installed} runs, {rule.release} is older"
    if bucket_of(rule.release, device) >= rule.upto:
        return f"later: {rule.release} is not for this device yet"
    return None
