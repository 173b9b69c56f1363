"""What a publisher says, once it is proven: plain values, without TUF."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edgeml.releases.rollout import Rule

Get = Callable[[str], bytes | None]
"""Gives a published file by its name (`tuf/bundle`, `c/SHA256`), or None."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A release that the rule of this device's group names and that the targets role signed.

    It was so at `said_s`, when the newest timestamp was signed; 0 where that does not say.
    """

    rule: Rule
    bundle_digest: str
    bundle_bytes: int
    said_s: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """What the publisher says now.

    Attributes:
        offers: by model name; a name without a rule has none.
        revoked: releases that nobody should run.
        signed_s: the latest signed time in all of it.
        root_version: of the root that all of it rests on.
    """

    offers: Mapping[str, Offer] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()
    signed_s: int = 0
    root_version: int = 0
