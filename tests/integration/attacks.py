"""The attacks of TUF's and Uptane's lists as data: what a device is shown, what it says of it."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from edgeml.releases.names import METADATA, TIMESTAMP

from . import hostile
from .hostile import Publication, Spoils


@dataclass(frozen=True)
class Attack:
    """What a device is shown after it has seen something, and what it says of it.

    Attributes:
        name: of the attack, as the lists have it.
        shown: what is published now.
        reason: how the refusal begins.
        seen: what the device saw before: quiet, offer or later.
        days: since it was signed, by the device's clock.
        factory: the version of the model that the device was made with.
    """

    name: str
    shown: Callable[[Spoils], Publication]
    reason: str
    seen: str = "quiet"
    days: float = 0.0
    factory: int = 1


def _without_chunks(spoils: Spoils) -> Publication:
    gone = set(hostile.chunks(spoils.offer))
    return {name: data for name, data in spoils.offer.items() if name not in gone}


def _half_of_the_chunks(spoils: Spoils) -> Publication:
    gone = set(hostile.chunks(spoils.offer)[::2])
    return {name: data for name, data in spoils.offer.items() if name not in gone}


def _bomb(spoils: Spoils) -> Publication:
    return spoils.offer | {METADATA: b"\1" + zlib.compress(bytes(64 << 20), 9)}


def _endless_chunks(spoils: Spoils) -> Publication:
    huge = b"\0" + bytes(1 << 20)
    return spoils.offer | dict.fromkeys(hostile.chunks(spoils.offer), huge)


ATTACKS = [
    Attack("arbitrary install", lambda s: hostile.signed_by_a_stranger(s.offer), "unsigned: "),
    Attack("rollback", lambda s: s.quiet, "rollback: ", seen="later"),
    Attack("freeze", lambda s: s.offer, "expired: the timestamp", seen="offer", days=2),
    Attack("fast-forward", lambda s: hostile.fast_forward(s.offer), "unsigned: "),
    Attack("mix and match", hostile.mixed, "tampered: ", seen="offer"),
    Attack("long timestamp", lambda s: s.offer | {TIMESTAMP: b" " * (32 << 10)}, "endless: "),
    Attack("endless timestamp", lambda s: s.offer | {TIMESTAMP: b" " * (1 << 20)}, "missing: "),
    Attack("endless metadata, packed", _bomb, "tampered: "),
    Attack("endless chunks", _endless_chunks, "missing: "),
    Attack("slow retrieval: nothing comes", _without_chunks, "missing: "),
    Attack("drop request", lambda _: {}, "missing: the metadata bundle", seen="offer"),
    Attack("partial bundle", _half_of_the_chunks, "missing: "),
    Attack("one root key stolen of two", hostile.one_root_key, "unsigned: "),
    Attack(
        "online keys stolen: a release of their own",
        lambda s: s.forge(hostile.rule_for("activity-9")),
        "unsigned: activity-9 is rolled out",
    ),
    Attack(
        "online keys stolen: an older release",
        lambda s: s.forge(hostile.rule_for("activity-2")),
        "older: ",
        factory=3,
    ),
    Attack(
        "wrong device: another model's rule",
        lambda s: s.forge(hostile.rule_for("gait-1")),
        "invalid: the rule of default/activity is for default/gait",
    ),
    Attack(
        "wrong device: another group's rule",
        lambda s: s.forge(hostile.rule_for("activity-2", group="night")),
        "invalid: the rule of default/activity is for night/activity",
    ),
    Attack("replayed rollout file", hostile.rolled_back_rule, "tampered: "),
    Attack("tampered chunk", lambda s: hostile.tampered(s.offer), "mqtt: tampered: "),
    Attack("chunk swapped", lambda s: hostile.swapped(s.offer), "mqtt: tampered: "),
    Attack("a path in a file's name", lambda s: hostile.named(s.offer, "../../x"), "invalid: "),
    Attack(
        "a path in a release's name",
        lambda s: s.forge(hostile.rule_for("../../etc/cron.d/x-2")),
        "invalid: ",
    ),
]
