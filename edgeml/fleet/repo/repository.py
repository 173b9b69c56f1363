"""What a publisher does: found a repository, release, roll out, halt, revoke, rotate, renew.

Each method is one change, signed and written whole or not at all.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from securesystemslib.signer import Key

from edgeml.bundle import Bundle, read_file
from edgeml.clock import Clock, SystemClock
from edgeml.cutting import cut
from edgeml.errors import ConfigError, UpdateError
from edgeml.fleet.repo import contents
from edgeml.fleet.repo.folder import Folder, write_file
from edgeml.fleet.repo.ledger import ONLINE, ROLLOUT, Ledger
from edgeml.fleet.repo.packing import encode
from edgeml.fleet.repo.signers import (
    DAY_S,
    LIFETIMES_S,
    OFFLINE,
    ROLES,
    Keyring,
    Settings,
    make_key,
)
from edgeml.releases import names
from edgeml.releases.chunk import digest_of
from edgeml.releases.index import ChunkRef, ReleaseIndex
from edgeml.releases.rollout import Rule


@dataclass(frozen=True, slots=True)
class RoleKeys:
    """How a role signs: how many keys are made, or which are given; how many of them must sign."""

    threshold: int = 1
    count: int = 1
    given: tuple[tuple[str, Key], ...] = ()


@dataclass(frozen=True, slots=True)
class Released:
    """A new release, and what it costs a device on the wire, by the release that it has."""

    index: ReleaseIndex
    download_bytes: Mapping[str | None, int]


class Repository:
    """One publisher's folder.

    Args:
        root: the folder.
        clock: the time.
        keys: a folder with key files that are kept elsewhere, such as a stick; several, where
            the keys of one threshold lie apart; None for none.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock | None = None,
        keys: Path | Sequence[Path] | None = None,
    ) -> None:
        self.folder = Folder(root)
        self._clock = SystemClock() if clock is None else clock
        several = (keys,) if isinstance(keys, Path) else keys
        self._elsewhere = tuple(several or ())

    @contextmanager
    def open(self) -> Iterator[Ledger]:
        """What the repository says, with other commands kept out.

        Raises:
            BusyError: another command is at work.
            UpdateError: there is no repository, or it is damaged.
        """
        with self.folder.locked():
            yield Ledger.read(self.folder)

    def create(
        self,
        keys: Mapping[str, RoleKeys] | None = None,
        lifetimes_s: Mapping[str, int] | None = None,
    ) -> Ledger:
        """Found the repository: keys, and a first version of everything.

        Raises:
            ConfigError: a threshold that no signatures can reach, or a lifetime of nothing.
            UpdateError: there is one already, or the folder cannot be written.
        """
        plans = {role: RoleKeys() for role in ROLES} | dict(keys or {})
        lifetimes = LIFETIMES_S | dict(lifetimes_s or {})
        for role in ROLES:
            _check_plan(role, plans[role])
            if lifetimes[role] < 60:
                raise ConfigError(f"{role}: a lifetime of {lifetimes[role]} s; at least 60 s work")
        self.folder.create()
        settings = Settings({}, lifetimes)
        public = {role: self._make_keys(role, plans[role], settings) for role in ROLES}
        thresholds = {role: plans[role].threshold for role in ROLES}
        ledger = Ledger.empty(self.folder, public, thresholds)
        ledger.seal(ROLES, self._keyring(settings), self._clock.now_s())
        settings.write(self.folder)  # last: without it the folder is no repository yet
        return ledger

    def release(self, bundles: Sequence[Path]) -> list[Released]:
        """Sign bundles as releases.

        Raises:
            BundleError: a file is no bundle.
            UpdateError: a version is not above the last one of its name.
        """
        with self.open() as ledger:
            indexes = [self._add(ledger, path) for path in bundles]
            self._seal(ledger, ["targets"])
            return [Released(i, contents.download_bytes(ledger, i)) for i in indexes]

    def rollout(
        self,
        release: str,
        upto: int,
        *,
        group: str = names.DEFAULT_GROUP,
        spread_s: int = 0,
        hours: tuple[int, int] | None = None,
        expires_s: int = DAY_S,
        renew: bool = True,
    ) -> Rule:
        """Let so many ten-thousandths of a group have a release.

        Args:
            release: which one.
            upto: 0 to 10,000 buckets.
            group: whose devices.
            spread_s: their downloads are spread over so long.
            hours: the hours of the day in which they install.
            expires_s: how long from now the rule holds.
            renew: whether `refresh` lets it hold on; without, it ends by itself.

        Raises:
            UpdateError: the release is not signed or was revoked, or a newer one is rolled out.
        """
        with self.open() as ledger:
            if names.release_target(release) not in ledger.targets.signed.targets:
                raise unknown(release)
            now_s = int(self._clock.now_s())
            rule = Rule(release, group, upto, now_s, now_s + expires_s, spread_s, hours)
            before = contents.rules(ledger).get((group, rule.name))
            if before is not None and before.version > rule.version:
                raise UpdateError(
                    f"{before.release} is rolled out in {group}, and no device goes back to an "
                    f"older version by a rule; to take it back: edgeml repo revoke {before.release}"
                )
            if before is not None and (before.release, before.upto) == (release, upto):
                # Said again: nobody new is let in, so the spread goes on where it is.
                rule = replace(rule, issued_s=before.issued_s)
            contents.put_rule(ledger, rule, expires_s if renew else 0)
            self._seal(ledger, [ROLLOUT])
            return rule

    def halt(self, what: str | None = None, group: str | None = None) -> list[Rule]:
        """Let nobody further have what is rolled out.

        Args:
            what: a model or a release; None for all.
            group: in which group; None for all.

        Raises:
            UpdateError: nothing is rolled out there.
        """
        with self.open() as ledger:
            halted = [
                replace(rule, upto=0)
                for rule in contents.rules(ledger).values()
                if what in (None, rule.name, rule.release) and group in (None, rule.group)
            ]
            if not halted:
                where = "any group" if group is None else f"group {group}"
                raise UpdateError(f"{what or 'nothing'} is not rolled out in {where}")
            for rule in halted:
                # Renewed, so that a device which comes back later still hears of the halt.
                contents.put_rule(ledger, rule, max(rule.expires_s - rule.issued_s, DAY_S))
            self._seal(ledger, [ROLLOUT])
            return halted

    def revoke(self, release: str) -> None:
        """Take a release back: nobody gets it any more, who has it goes back to what it had before.

        Raises:
            UpdateError: there is no such release.
        """
        with self.open() as ledger:
            target = names.release_target(release)
            if ledger.targets.signed.targets.pop(target, None) is None:
                raise unknown(release)
            contents.put_revoked(ledger, [*contents.revoked(ledger), release])
            changed = ["targets"]
            for (group, name), rule in contents.rules(ledger).items():
                if rule.release == release:
                    del ledger.rollout.signed.targets[names.rollout_target(group, name)]
                    changed.append(ROLLOUT)
            self._seal(ledger, changed)

    def rotate(self, role: str, plan: RoleKeys | None = None) -> list[Path]:
        """Give a role new keys; devices follow, because those who trusted the old ones say so.

        Args:
            role: whose.
            plan: how many and which; by default as many new ones as there were, as files.

        Returns:
            The key files that are of no use any more, to be destroyed.

        Raises:
            TrustError: a key that must sign the change is not within reach.
        """
        with self.open() as ledger:
            former, threshold = ledger.keys_of(role)
            if plan is None:
                plan = RoleKeys(threshold, len(former))
            _check_plan(role, plan)
            settings = Settings.read(self.folder)
            ledger.replace_keys(role, self._make_keys(role, plan, settings), plan.threshold)
            settings.write(self.folder)  # first: a new key that nobody can find would be lost
            signing = ["targets", ROLLOUT] if role == ROLLOUT else list({"root", role})
            root = (former, threshold) if role == "root" else None
            ledger.seal(signing, self._keyring(settings), self._clock.now_s(), root)
            # A former key may be among the new ones, or be another role's as well, as in an HSM.
            used = {key.keyid for each in ROLES for key in ledger.keys_of(each)[0]}
            gone = [settings.signers.pop(k.keyid, "") for k in former if k.keyid not in used]
            settings.write(self.folder)
            return [self.folder.root / uri.partition(":")[2] for uri in gone if "file2:" in uri]

    def refresh(self, *, everything: bool = False) -> list[Rule]:
        """Let what the online roles say hold on, and the rules that have not ended yet.

        Args:
            everything: the offline roles, too, before they expire.

        Returns:
            The rules that were renewed.
        """
        with self.open() as ledger:
            now_s = int(self._clock.now_s())
            renewed = []
            for rule in contents.rules(ledger).values():
                lifetime_s = contents.lifetime_of(ledger, rule)
                if lifetime_s and rule.expires_s > now_s:
                    renewed.append(replace(rule, expires_s=now_s + lifetime_s))
                    contents.put_rule(ledger, renewed[-1], lifetime_s)
            self._seal(ledger, [*ONLINE, *(OFFLINE if everything else ())])
            return renewed

    def retire(self, keep: int) -> list[str]:
        """Forget all but the last so many releases of each model, those that a rule names apart.

        Returns:
            The releases that are gone.
        """
        with self.open() as ledger:
            named = {rule.release for rule in contents.rules(ledger).values()}
            by_name: dict[str, list[str]] = {}
            for release, index in contents.releases(ledger).items():
                by_name.setdefault(index.name, []).append(release)
            old = [
                release
                for known in by_name.values()
                for release in known[: -max(keep, 1)]
                if release not in named
            ]
            for release in old:
                del ledger.targets.signed.targets[names.release_target(release)]
            if old:
                self._seal(ledger, ["targets"])
            return old

    def _add(self, ledger: Ledger, path: Path) -> ReleaseIndex:
        data = read_file(path)
        bundle = Bundle.from_bytes(data, str(path))
        name, version = bundle.manifest.name, bundle.manifest.version
        last = contents.last_version(ledger, name)
        if version <= last:
            raise UpdateError(
                f"{path}: is {name} version {version}, but version {last} was released already; "
                f"give it version {last + 1} or more"
            )
        refs = []
        for piece in cut(data):
            refs.append(ChunkRef(digest_of(piece), len(piece)))
            place = self.folder.chunk(refs[-1].digest)
            if not place.exists():
                write_file(place, encode(piece))
        index = ReleaseIndex(name, version, bundle.sha256, bundle.size_bytes, tuple(refs))
        custom = {"name": name, "version": version, "sha256": bundle.sha256, "bytes": len(data)}
        ledger.put("targets", names.release_target(index.release), index.encode(), custom)
        return index

    def _seal(self, ledger: Ledger, roles: Sequence[str]) -> None:
        keyring = self._keyring(Settings.read(self.folder))
        ledger.seal(roles, keyring, self._clock.now_s())

    def _keyring(self, settings: Settings) -> Keyring:
        return Keyring(self.folder, settings, self._elsewhere)

    def _make_keys(self, role: str, plan: RoleKeys, settings: Settings) -> list[Key]:
        pairs = plan.given or [make_key(self.folder, role) for _ in range(plan.count)]
        settings.signers.update((key.keyid, uri) for uri, key in pairs)
        return [key for _, key in pairs]


def _check_plan(role: str, plan: RoleKeys) -> None:
    if not 1 <= plan.threshold <= (len(plan.given) or plan.count):
        raise ConfigError(
            f"{role}: {plan.threshold} signatures, but {len(plan.given) or plan.count} keys"
        )


def unknown(release: str) -> UpdateError:
    """What is raised where no such release is here."""
    return UpdateError(f"{release}: no such release here; `edgeml repo status` lists them")
