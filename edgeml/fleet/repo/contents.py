"""What a ledger's target files say: releases, rules, revocations, and what a download costs."""

import json
from collections.abc import Mapping
from typing import Any, Final

from tuf.api.metadata import TargetFile

from edgeml.errors import UpdateError
from edgeml.fleet.repo.folder import Folder
from edgeml.fleet.repo.ledger import ROLLOUT, Ledger
from edgeml.fleet.repo.packing import encode, encode_metadata
from edgeml.fleet.repo.signers import ROLES
from edgeml.jsonread import Fields
from edgeml.releases import names
from edgeml.releases.index import ReleaseIndex
from edgeml.releases.rollout import Rule

MAX_REVOKED: Final = 1000


def releases(ledger: Ledger) -> dict[str, ReleaseIndex]:
    """The indexes of the live releases, by id, each model's oldest first."""
    prefix = "releases/"
    found = [
        ReleaseIndex.parse(ledger.content(target))
        for path, target in ledger.targets.signed.targets.items()
        if path.startswith(prefix)
    ]
    return {i.release: i for i in sorted(found, key=lambda i: (i.name, i.version))}


def rules(ledger: Ledger) -> dict[tuple[str, str], Rule]:
    """The rules, by group and model."""
    found = (Rule.parse(ledger.content(t)) for t in ledger.rollout.signed.targets.values())
    return {(rule.group, rule.name): rule for rule in found}


def lifetime_of(ledger: Ledger, rule: Rule) -> int:
    """For how many seconds `refresh` renews a rule; 0 where it leaves it alone."""
    target = ledger.rollout.signed.targets[names.rollout_target(rule.group, rule.name)]
    return Fields(target.custom, "rule", UpdateError, ignore_unknown=True).integer(
        "renew_s", default=0
    )


def put_rule(ledger: Ledger, rule: Rule, renew_s: int) -> None:
    """Let the rollout role say this rule instead of the one it has for that group and model."""
    data = rule.encode()
    path = names.rollout_target(rule.group, rule.name)
    ledger.put(ROLLOUT, path, data, {**json.loads(data), "renew_s": renew_s})


def revoked(ledger: Ledger) -> list[str]:
    """The releases that were taken back, the oldest decision first."""
    target = ledger.targets.signed.targets.get(names.REVOKED)
    if target is None:
        return []
    return list(Fields(target.custom, names.REVOKED, UpdateError).texts("releases"))


def put_revoked(ledger: Ledger, listed: list[str]) -> None:
    """Let the targets role say that these are taken back."""
    if len(listed) > MAX_REVOKED:
        raise UpdateError(f"{len(listed)} releases are revoked; {MAX_REVOKED} can be")
    data = json.dumps({"v": 1, "releases": listed}, separators=(",", ":")).encode()
    ledger.put("targets", names.REVOKED, data, {"releases": listed})


def last_version(ledger: Ledger, name: str) -> int:
    """The greatest version of a model that was ever released here, as far as is known; 0: none."""
    known = [names.parse_release_id(release) for release in (*releases(ledger), *revoked(ledger))]
    return max((version for its, version in known if its == name), default=0)


def targets_of(ledger: Ledger) -> dict[str, TargetFile]:
    """Every target file that a device may ask for, by its digest."""
    both = (*ledger.targets.signed.targets.values(), *ledger.rollout.signed.targets.values())
    return {target.hashes["sha256"]: target for target in both}


def live_chunks(ledger: Ledger) -> dict[str, None]:
    """The digests of the chunks that live releases name, each once, in order."""
    indexes = releases(ledger).values()
    return {chunk.digest: None for index in indexes for chunk in index.chunks}


def packed_bytes(folder: Folder, digest: str) -> int:
    """How long a chunk is on the wire."""
    try:
        return folder.chunk(digest).stat().st_size
    except OSError as exc:
        raise UpdateError(
            f"{folder.chunk(digest)}: is missing ({exc.strerror}); restore it from the history"
        ) from exc


def download_bytes(ledger: Ledger, index: ReleaseIndex) -> Mapping[str | None, int]:
    """What a release costs a device, by the release that it has, or None for one with nothing.

    Metadata, timestamp, index and rule are counted; MQTT's and HTTP's own headers are not.
    """
    files = ledger.files
    overhead = len(encode_metadata(files)) + len(files["timestamp.json"])
    overhead += len(encode(index.encode()))
    sizes = {chunk.digest: packed_bytes(ledger.folder, chunk.digest) for chunk in index.chunks}

    def missing(have: set[str]) -> int:
        return overhead + sum(size for digest, size in sizes.items() if digest not in have)

    costs: dict[str | None, int] = {None: missing(set())}
    for release, older in releases(ledger).items():
        if older.name == index.name and older.version < index.version:
            costs[release] = missing({chunk.digest for chunk in older.chunks})
    return costs


def summary(ledger: Ledger, now_s: float) -> dict[str, Any]:
    """Everything that `edgeml repo status` says, as one JSON object."""
    roles = {
        role: {
            "version": ledger.of(role).signed.version,
            "expires_s": ledger.expiry_s(role),
            "expired": ledger.expiry_s(role) <= now_s,
            "threshold": ledger.keys_of(role)[1],
            "keys": [key.keyid for key in ledger.keys_of(role)[0]],
        }
        for role in ROLES
    }
    return {
        "roles": roles,
        "releases": [
            {
                "release": release,
                "bytes": index.bundle_bytes,
                "chunks": len(index.chunks),
                "sha256": index.bundle_digest,
            }
            for release, index in releases(ledger).items()
        ],
        "rules": [
            {
                "group": rule.group,
                "release": rule.release,
                "percent": rule.upto / 100,
                "expires_s": rule.expires_s,
                "expired": rule.expires_s <= now_s,
                "renewed": lifetime_of(ledger, rule) > 0,
                "hours": rule.hours,
                "spread_s": rule.spread_s,
            }
            for rule in rules(ledger).values()
        ],
        "revoked": revoked(ledger),
    }
