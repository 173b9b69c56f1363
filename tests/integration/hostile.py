"""Whoever owns the broker: everything that was ever published, and what can be made of it.

A publication is what lies under each published name. Some attackers have only
that; some have stolen keys, too, which is a copy of the repository in which
they sign what they like with the roles they have.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata
from tuf.api.serialization.json import JSONSerializer

from edgeml.fleet.repo.folder import Folder
from edgeml.fleet.repo.ledger import Ledger
from edgeml.fleet.repo.packing import encode, encode_metadata
from edgeml.fleet.repo.publish import Outgoing
from edgeml.fleet.repo.repository import RoleKeys
from edgeml.fleet.repo.signers import Keyring, Settings
from edgeml.releases.chunk import decode_file
from edgeml.releases.index import MAX_INDEX_BYTES
from edgeml.releases.metadata import parse_metadata
from edgeml.releases.names import METADATA, TIMESTAMP, file_name
from edgeml.releases.rollout import Rule

from .publisher import DAY_S, Publisher

Publication = dict[str, bytes]
RELEASE = "activity-2"
NOBODY, EVERYBODY = 0, 10_000


@dataclass
class Spoils:
    """What the attackers have: three states of the publication, and for some, keys.

    Attributes:
        quiet: a release that nobody gets yet.
        offer: the same one, for everybody.
        later: the same offer, all metadata renewed.
        root: what devices were given.
    """

    place: Path
    quiet: Publication = field(default_factory=dict)
    offer: Publication = field(default_factory=dict)
    later: Publication = field(default_factory=dict)
    root: bytes = b""
    _copies: int = 0

    def __post_init__(self) -> None:
        publisher = Publisher(self.place, {"root": RoleKeys(threshold=2, count=3)})
        self.root = publisher.root
        publisher.release(2)
        self.publisher = publisher
        publisher.repository.rollout(RELEASE, NOBODY)
        self.quiet = published(publisher.repository.folder)
        publisher.repository.rollout(RELEASE, EVERYBODY)
        self.offer = published(publisher.repository.folder)
        publisher.repository.refresh(everything=True)
        self.later = published(publisher.repository.folder)

    def forge(self, change: Callable[[Ledger], Iterable[str]]) -> Publication:
        """What is published after a change was signed with the stolen keys of these roles."""
        self._copies += 1
        folder = self.publisher.repository.folder
        return forged(folder, self.place / f"stolen-{self._copies}", change)


def forged(folder: Folder, copy: Path, change: Callable[[Ledger], Iterable[str]]) -> Publication:
    """What is published of a copy of a repository after a change in it was signed."""
    shutil.copytree(folder.root, copy)
    stolen = Folder(copy)
    ledger = Ledger.read(stolen)
    ledger.seal(change(ledger), Keyring(stolen, Settings.read(stolen)), time.time())
    return published(stolen)


def published(folder: Folder) -> Publication:
    """Everything that devices may ask for."""
    outgoing = Outgoing(Ledger.read(folder), time.time())
    files = {file_name(digest): outgoing.file(digest) or b"" for digest in outgoing.digests}
    return files | dict(outgoing.metadata())


def metadata(given: Publication) -> dict[str, bytes]:
    return parse_metadata(given[METADATA])


def with_metadata(given: Publication, files: dict[str, bytes]) -> Publication:
    return given | {METADATA: encode_metadata(files), TIMESTAMP: files["timestamp.json"]}


def newest(files: dict[str, bytes], role: str) -> str:
    """The file's name of a role's newest version."""
    names = [name for name in files if name.endswith(f".{role}.json")]
    return max(names, key=lambda name: int(name.partition(".")[0]))


def chunks(given: Publication) -> list[str]:
    """The names of the release's chunks, without the small files of TUF."""
    found = []
    for name, data in given.items():
        if name.startswith("c/"):
            plain = decode_file(data, MAX_INDEX_BYTES)
            if not plain.startswith(b'{"v":1') and not plain.startswith(b'{"releases"'):
                found.append(name)
    return found


def signed_by_a_stranger(given: Publication) -> Publication:
    """The release made another one, all of it signed again, with keys that nobody trusts."""
    stranger = CryptoSigner.generate_ed25519()
    files = metadata(given)
    targets = json.loads(files[newest(files, "targets")])
    custom = targets["signed"]["targets"][f"releases/{RELEASE}"]["custom"]
    custom["sha256"] = "ab" * 32
    files[newest(files, "targets")] = json.dumps(targets).encode()
    for name in (newest(files, "targets"), newest(files, "snapshot"), "timestamp.json"):
        one = Metadata[Any].from_bytes(files[name])
        one.signed.version += 1
        one.sign(stranger)
        files[name] = one.to_bytes(JSONSerializer(compact=True))
    return with_metadata(given, files)


def mixed(spoils: Spoils) -> Publication:
    """Today's timestamp and snapshot over yesterday's rules, under the names of today's."""
    old, new = metadata(spoils.quiet), metadata(spoils.later)
    new[newest(new, "rollout")] = old[newest(old, "rollout")]
    return with_metadata(spoils.later, new)


def rolled_back_rule(spoils: Spoils) -> Publication:
    """The rule file of yesterday where today's is asked for."""
    files = metadata(spoils.offer)
    old = metadata(spoils.quiet)
    files[newest(files, "rollout")] = old[newest(old, "rollout")]
    return with_metadata(spoils.offer, files)


def fast_forward(given: Publication) -> Publication:
    """Versions raised to the skies, so that every true one would look old."""
    files = metadata(given)
    document = json.loads(files["timestamp.json"])
    document["signed"]["version"] = (1 << 31) - 1
    files["timestamp.json"] = json.dumps(document).encode()
    return with_metadata(given, files)


def one_root_key(spoils: Spoils) -> Publication:
    """A next root with the thief's own keys, signed with one root key where two are needed."""
    ledger = Ledger.read(spoils.publisher.repository.folder)
    folder = ledger.folder
    keyring = Keyring(folder, Settings.read(folder))
    keys, _ = ledger.keys_of("root")
    thief = CryptoSigner.generate_ed25519()
    for role in ("root", "targets", "snapshot", "timestamp"):
        ledger.replace_keys(role, [thief.public_key], 1)
    ledger.root.signed.version += 1
    ledger.root.signatures.clear()
    keyring.sign(ledger.root, "root", keys[:1], 1)
    ledger.root.sign(thief, append=True)
    files = metadata(spoils.offer)
    files["2.root.json"] = ledger.root.to_bytes(JSONSerializer(compact=True))
    return with_metadata(spoils.offer, files)


def rule_for(release: str, **changed: Any) -> Callable[[Ledger], Iterable[str]]:
    """A rule that the thief of the online keys signs, put where the device looks."""

    def change(ledger: Ledger) -> Iterable[str]:
        now_s = int(time.time())
        rule = Rule(RELEASE, "default", EVERYBODY, now_s, now_s + DAY_S)
        document = json.loads(rule.encode())
        name, _, version = release.rpartition("-")
        document |= {"release": release, "name": name, "version": int(version), **changed}
        data = json.dumps(document).encode()
        ledger.put("rollout", "rollouts/default/activity", data, {**document, "renew_s": 0})
        return ["rollout"]

    return change


def swapped(given: Publication) -> Publication:
    """Each chunk under the name of another one; all of them are true chunks."""
    names = chunks(given)
    turned = [*names[1:], names[0]]
    return given | {name: given[other] for name, other in zip(names, turned, strict=True)}


def tampered(given: Publication) -> Publication:
    """One byte of each chunk changed, packed as it should be."""
    changed = dict(given)
    for name in chunks(given):
        plain = bytearray(decode_file(given[name], MAX_INDEX_BYTES))
        plain[len(plain) // 2] ^= 1
        changed[name] = encode(bytes(plain))
    return changed


def named(given: Publication, name: str) -> Publication:
    """A file of that name in the metadata bundle, which the publisher's code would not write."""
    text = decode_file(given[METADATA], MAX_INDEX_BYTES).decode()
    document = json.loads(text)
    document["files"][name] = "pwned"
    return given | {METADATA: encode(json.dumps(document).encode())}
