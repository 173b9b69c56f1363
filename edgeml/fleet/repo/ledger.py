"""The signed metadata of a repository: read as it lies there, changed in memory, sealed at once.

Sealing signs everything before it writes anything, so a key that is missing
leaves the folder untouched; and it writes `timestamp.json` last, so a command
that is killed has changed nothing that a client reads.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from securesystemslib.signer import Key
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from edgeml.errors import TrustError, UpdateError
from edgeml.fleet.repo.folder import Folder, read_file, write_file
from edgeml.fleet.repo.signers import ROLES, Keyring
from edgeml.releases.names import SIGNED_S

ROLLOUT: Final = "rollout"
PATHS: Final = ["rollouts/*/*"]
ONLINE: Final = (ROLLOUT, "snapshot", "timestamp")
_TIMESTAMP_FILE: Final = "timestamp.json"


@dataclass(slots=True)
class Ledger:
    """What the five roles say, the newest of each."""

    folder: Folder
    root: Metadata[Root]
    targets: Metadata[Targets]
    rollout: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]

    @classmethod
    def empty(cls, folder: Folder, keys: dict[str, list[Key]], thresholds: dict[str, int]) -> (
        "Ledger"
    ):  # fmt: skip
        """The beginning of a repository; nothing in it is signed, all versions are 0."""
        root = Root(consistent_snapshot=True)
        for role in ROLES[:4]:
            for key in keys[role]:
                root.add_key(key, role)
            root.roles[role].threshold = thresholds[role]
        targets = Targets()
        targets.delegations = Delegations(
            {key.keyid: key for key in keys[ROLLOUT]},
            {ROLLOUT: DelegatedRole(ROLLOUT, [key.keyid for key in keys[ROLLOUT]],
                                    thresholds[ROLLOUT], terminating=True, paths=PATHS)},
        )  # fmt: skip
        ledger = cls(
            folder,
            Metadata(root),
            Metadata(targets),
            Metadata(Targets()),
            Metadata(Snapshot()),
            Metadata(Timestamp()),
        )
        for role in ROLES:
            ledger.of(role).signed.version = 0
        return ledger

    @classmethod
    def read(cls, folder: Folder) -> "Ledger":
        """The newest metadata in the folder.

        Raises:
            UpdateError: a file is missing or damaged.
        """
        versions = folder.root_versions()
        if not versions:
            raise UpdateError(f"{folder.metadata('1.root.json')}: is missing; restore it")
        root = _load(folder, f"{versions[-1]}.root.json", Root)
        timestamp = _load(folder, _TIMESTAMP_FILE, Timestamp)
        snapshot = _load(
            folder, f"{timestamp.signed.snapshot_meta.version}.snapshot.json", Snapshot
        )
        meta = snapshot.signed.meta
        targets = _load(folder, f"{meta['targets.json'].version}.targets.json", Targets)
        rollout = _load(folder, f"{meta['rollout.json'].version}.rollout.json", Targets)
        return cls(folder, root, targets, rollout, snapshot, timestamp)

    @property
    def files(self) -> dict[str, bytes]:
        """Everything that a TUF client asks for, by name, as it lies in the folder."""
        names = [f"{version}.root.json" for version in self.folder.root_versions()]
        others = ("snapshot", "targets", ROLLOUT)
        names += [f"{self.of(role).signed.version}.{role}.json" for role in others]
        return {name: read_file(self.folder.metadata(name)) for name in (*names, _TIMESTAMP_FILE)}

    def of(self, role: str) -> Metadata[Any]:
        """A role's metadata."""
        found: Metadata[Any] = getattr(self, role)
        return found

    def keys_of(self, role: str) -> tuple[list[Key], int]:
        """A role's public keys, and how many of them must sign."""
        delegator = self._delegator(role)
        found = delegator.get_delegated_role(role)
        return [delegator.get_key(keyid) for keyid in found.keyids], found.threshold

    def replace_keys(self, role: str, keys: list[Key], threshold: int) -> None:
        """Trust these keys for a role from now on, instead of those it has."""
        delegator = self._delegator(role)
        for keyid in list(delegator.get_delegated_role(role).keyids):
            delegator.revoke_key(keyid, role)
        for key in keys:
            delegator.add_key(key, role)
        delegator.get_delegated_role(role).threshold = threshold

    def expiry_s(self, role: str) -> float:
        """The unix time from which a role's metadata is void."""
        expires: datetime = self.of(role).signed.expires
        return expires.timestamp()

    def put(self, role: str, path: str, data: bytes, custom: dict[str, Any]) -> None:
        """Let a role vouch for a target file, and write the file."""
        target = TargetFile.from_data(path, data, ["sha256"])
        target.unrecognized_fields["custom"] = custom
        write_file(self.folder.target(path, target.hashes["sha256"]), data)
        self.of(role).signed.targets[path] = target

    def content(self, target: TargetFile) -> bytes:
        """A target file."""
        return read_file(self.folder.target(target.path, target.hashes["sha256"]))

    def seal(
        self,
        roles: Iterable[str],
        keyring: Keyring,
        now_s: float,
        former: tuple[list[Key], int] | None = None,
    ) -> None:
        """Sign what these roles say now, then whatever names it, then write it all.

        Args:
            roles: whose words changed.
            keyring: the private keys.
            now_s: the time.
            former: the root's keys and threshold before this change, which sign, too.

        Raises:
            TrustError: a key is not within reach; nothing was written.
        """
        changed = set(roles)
        if changed & {"targets", ROLLOUT, "snapshot"}:
            changed |= {"snapshot", "timestamp"}
        fresh: dict[str, bytes] = {}
        for role in ("root", "targets", ROLLOUT):
            if role in changed:
                fresh.update(self._renew(role, keyring, now_s, former))
        if "snapshot" in changed:
            for role in ("targets", ROLLOUT):
                self.snapshot.signed.meta[f"{role}.json"] = self._meta(role, fresh)
            fresh.update(self._renew("snapshot", keyring, now_s))
        if "timestamp" in changed:
            self.timestamp.signed.snapshot_meta = self._meta("snapshot", fresh)
            fresh.update(self._renew("timestamp", keyring, now_s))
        # The order of the table above: what names something comes after what it names.
        for name, data in fresh.items():
            write_file(self.folder.metadata(name), data)

    def _renew(
        self,
        role: str,
        keyring: Keyring,
        now_s: float,
        former: tuple[list[Key], int] | None = None,
    ) -> dict[str, bytes]:
        """A role's next file, by its name: a new version, a new expiry, new signatures."""
        metadata = self.of(role)
        metadata.signed.version += 1
        expires_s = int(now_s) + keyring.settings.lifetimes_s[role]
        metadata.signed.expires = datetime.fromtimestamp(expires_s, tz=timezone.utc)
        if role == "timestamp":
            metadata.signed.unrecognized_fields[SIGNED_S] = int(now_s)
        metadata.signatures.clear()
        if role == "root" and former is not None:
            keyring.sign(metadata, "root, by its former keys", *former)
        keyring.sign(metadata, role, *self.keys_of(role))
        version = metadata.signed.version
        name = _TIMESTAMP_FILE if role == "timestamp" else f"{version}.{role}.json"
        return {name: metadata.to_bytes(JSONSerializer(compact=True))}

    def _meta(self, role: str, fresh: dict[str, bytes]) -> MetaFile:
        version: int = self.of(role).signed.version
        name = f"{version}.{role}.json"
        data = fresh[name] if name in fresh else read_file(self.folder.metadata(name))
        return MetaFile.from_data(version, data, ["sha256"])

    def _delegator(self, role: str) -> Root | Targets:
        return self.targets.signed if role == ROLLOUT else self.root.signed

    def verify(self, now_s: float) -> None:
        """See that a device which knows only the first root would accept everything.

        Raises:
            TrustError: it would not; the message says why and what to run.
        """
        folder = self.folder
        try:
            trusted = _load(folder, "1.root.json", Root)
            for version in folder.root_versions():
                following = _load(folder, f"{version}.root.json", Root)
                trusted.verify_delegate("root", following)
                following.verify_delegate("root", following)
                trusted = following
            for role in ("timestamp", "snapshot", "targets"):
                trusted.verify_delegate(role, self.of(role))
            self.targets.verify_delegate(ROLLOUT, self.rollout)
            for role in ("targets", ROLLOUT):
                data = read_file(folder.metadata(f"{self.of(role).signed.version}.{role}.json"))
                self.snapshot.signed.meta[f"{role}.json"].verify_length_and_hashes(data)
            data = read_file(folder.metadata(f"{self.snapshot.signed.version}.snapshot.json"))
            self.timestamp.signed.snapshot_meta.verify_length_and_hashes(data)
        except RepositoryError as exc:
            raise TrustError(
                f"{folder.root}: no device would accept this ({exc}); "
                "run: edgeml repo refresh --all"
            ) from exc
        expired = [role for role in ROLES if self.expiry_s(role) <= now_s]
        if expired:
            more = " --all" if set(expired) & {"root", "targets"} else ""
            raise TrustError(
                f"{folder.root}: {', '.join(expired)} expired, so no device takes an update; "
                f"run: edgeml repo refresh{more}"
            )


def _load(folder: Folder, name: str, kind: type) -> Metadata[Any]:
    path = folder.metadata(name)
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(read_file(path))
    except DeserializationError as exc:
        raise UpdateError(f"{path}: is damaged ({exc}); restore it from the history") from exc
    if not isinstance(metadata.signed, kind):
        raise UpdateError(f"{path}: is metadata of another role; restore it from the history")
    return metadata
