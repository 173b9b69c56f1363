"""The one place that knows TUF: from files that nobody trusts to what this device may install.

python-tuf's client does the deciding; this module gives it the files that a
publisher's metadata bundle holds, so "there is no newer root" is known at once,
and adds what a machine without a clock battery needs: a floor. Expiry is judged
by the clock or by the latest signed time that was ever seen, whichever is
later, so turning the clock back revives nothing. The first root always comes
from the device's owner, never from a cache.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from tuf.api import exceptions as tuf
from tuf.api.metadata import Metadata, TargetFile
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from edgeml.errors import TrustError, UpdateError
from edgeml.ota.disk import Disk, SystemDisk
from edgeml.ota.kept import Kept
from edgeml.ota.standing import Get, Offer, Standing
from edgeml.releases.chunk import decode_file
from edgeml.releases.index import MAX_INDEX_BYTES, ReleaseIndex
from edgeml.releases.metadata import MAX_FILES, parse_metadata
from edgeml.releases.names import (
    METADATA,
    REVOKED,
    SIGNED_S,
    TIMESTAMP,
    file_name,
    release_target,
    rollout_target,
)
from edgeml.releases.rollout import Rule

BASE_URL: Final = "edgeml:///"
_METADATA_URL: Final = BASE_URL + "metadata/"
_TARGETS_URL: Final = BASE_URL + "targets/"
_TOP: Final = ("timestamp", "snapshot", "targets")
_MAX_TIMESTAMP_BYTES: Final = 16 << 10

_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (tuf.ExpiredMetadataError, "expired"),
    (tuf.BadVersionNumberError, "rollback"),
    (tuf.UnsignedMetadataError, "unsigned"),
    (tuf.LengthOrHashMismatchError, "tampered"),
    (tuf.DownloadLengthMismatchError, "endless"),
    (tuf.DownloadError, "missing"),
    (tuf.RepositoryError, "invalid"),
)


class Trust:
    """What this device believes, kept in a folder.

    Args:
        folder: for the metadata that was believed last; made if it is not there.
        root: the first root, as its owner gave it to this device.
        fetcher: gives python-tuf its files; another one speaks to other repositories.
        disk: what is believed is on the medium before anything is done about it.

    Raises:
        TrustError: that root is none.
    """

    def __init__(
        self,
        folder: Path,
        root: bytes,
        fetcher: Callable[[Get], FetcherInterface] | None = None,
        disk: Disk | None = None,
    ) -> None:
        self._folder = folder
        self._root = root
        self._fetcher = (lambda get: Fetcher(get, self._believed())) if fetcher is None else fetcher
        folder.mkdir(parents=True, exist_ok=True)
        self._kept = Kept(folder, SystemDisk() if disk is None else disk, _sound)
        self._kept.restore()
        try:
            Metadata.from_bytes(root)
        except Exception as exc:
            raise TrustError(f"root: the root file is not TUF root metadata ({exc})") from exc

    def check(
        self,
        get: Get,
        group: str,
        names: tuple[str, ...],
        now_s: float,
        floor_s: float,
        floor_root: int | None = None,
    ) -> Standing:
        """Learn what the publisher says, as far as it is proven.

        Args:
            get: where published files come from.
            group: this device's.
            names: of the models it runs.
            now_s: unix time by the machine's clock.
            floor_s: the latest signed time that was ever seen.
            floor_root: the version of the root under which it was; under a newer one, whose
                keys may be others, it does not count. None where it always does.

        Raises:
            TrustError: it is not proven; the message begins with a stable word:
                expired, rollback, unsigned, tampered, endless, missing, invalid.
        """
        updater = self.refresh(get, now_s, floor_s, floor_root)
        with _Translated():
            offers = {name: offer for name in names if (offer := self._offer(updater, group, name))}
            revoked = updater.get_targetinfo(REVOKED)
        if offers:
            self._check_expiry(("rollout",), self._at_least_s(now_s, floor_s, floor_root))
        self._kept.sync()
        issued_s = max((offer.rule.issued_s for offer in offers.values()), default=0)
        # What is valid now was signed before it expires: a date beyond that is a mistake or a
        # trick of one key, and believing it would lock this device out for as long.
        signed_s = min(issued_s, int(min(map(self._expiry_s, _TOP))))
        return Standing(offers, _revoked(revoked), signed_s, self._signed("root").version)

    def index(self, get: Get, release: str) -> ReleaseIndex:
        """The index of a release, as the targets role signed it.

        Raises:
            TrustError: it is not proven, or it is signed, and still none.
        """
        data = self.download(self._updater(get), release_target(release))
        with _Translated():
            index = ReleaseIndex.parse(data)
        if index.release != release:
            raise TrustError(f"invalid: the index of {release} is that of {index.release}")
        return index

    def refresh(
        self, get: Get, now_s: float, floor_s: float, floor_root: int | None = None
    ) -> Updater:
        """Bring the top-level roles up to date; a client that has them.

        Raises:
            TrustError: they are not proven, or expired.
        """
        updater = self._updater(get)
        with _Translated():
            updater.refresh()
        self._check_expiry(_TOP, self._at_least_s(now_s, floor_s, floor_root))
        return updater

    def download(self, updater: Updater, target: str) -> bytes:
        """A small file that is signed for.

        Raises:
            TrustError: it is not, it is too long, or what came is another.
        """
        with _Translated():
            info = updater.get_targetinfo(target)
            if info is None:
                raise TrustError(f"missing: the publisher has no {target}")
            if info.length > MAX_INDEX_BYTES:
                raise TrustError(f"endless: {target} has {info.length} bytes")
            place = str(self._folder / "index")
            path = updater.find_cached_target(info, place) or updater.download_target(info, place)
        return Path(path).read_bytes()

    def _updater(self, get: Get) -> Updater:
        config = UpdaterConfig(
            max_root_rotations=MAX_FILES, timestamp_max_length=_MAX_TIMESTAMP_BYTES
        )
        with _Translated():
            return Updater(
                str(self._folder),
                _METADATA_URL,
                str(self._folder),
                _TARGETS_URL,
                fetcher=self._fetcher(get),
                config=config,
                bootstrap=self._root,
            )

    def _believed(self) -> bytes | None:
        """The timestamp that was believed last, if what it names is here as well."""
        paths = [self._folder / f"{role}.json" for role in _TOP]
        return paths[0].read_bytes() if all(path.exists() for path in paths) else None

    def _offer(self, updater: Updater, group: str, name: str) -> Offer | None:
        info = updater.get_targetinfo(rollout_target(group, name))
        if info is None or info.custom is None:
            return None
        rule = Rule.parse(json.dumps(info.custom).encode())
        if (rule.group, rule.name) != (group, name):
            raise TrustError(f"invalid: the rule of {group}/{name} is for {rule.group}/{rule.name}")
        release = updater.get_targetinfo(release_target(rule.release))
        custom = None if release is None else release.custom
        if custom is None:
            raise TrustError(f"unsigned: {rule.release} is rolled out, but nobody released it")
        digest, size = custom.get("sha256"), custom.get("bytes")
        if not isinstance(digest, str) or not isinstance(size, int):
            raise TrustError(f"invalid: the release {rule.release} says neither digest nor length")
        return Offer(rule, digest, size, self._said_s())

    def _check_expiry(self, roles: Sequence[str], now_s: float) -> None:
        """What python-tuf judged by a clock that may be behind, judged by the floor, too."""
        for role in roles:
            expires_s = self._expiry_s(role)
            if expires_s <= now_s:
                when = datetime.fromtimestamp(expires_s, timezone.utc).isoformat()
                raise TrustError(f"expired: the {role} metadata was good until {when}")

    def _at_least_s(self, now_s: float, floor_s: float, floor_root: int | None) -> float:
        """How late it is: by the clock, by the floor as far as it counts, by the timestamp."""
        older = floor_root is not None and self._signed("root").version > floor_root
        return max(now_s, 0.0 if older else floor_s, self._said_s())

    def _said_s(self) -> int:
        """When the timestamp that is believed was signed; 0 where it does not say.

        It counts while it is the newest, and is not kept: a publisher's clock that was wrong
        once is put right by what is signed next.
        """
        said = self._signed("timestamp").unrecognized_fields.get(SIGNED_S)
        return said if type(said) is int else 0

    def _expiry_s(self, role: str) -> float:
        expires: datetime = self._signed(role).expires
        return expires.replace(tzinfo=timezone.utc).timestamp()

    def _signed(self, role: str) -> Any:
        """What a role said last that is believed."""
        return Metadata[Any].from_bytes((self._folder / f"{role}.json").read_bytes()).signed


class Fetcher(FetcherInterface):
    """Answers python-tuf's questions from the published files."""

    def __init__(self, get: Get, believed: bytes | None = None) -> None:
        self._get = get
        self._believed = believed
        self._timestamp: bytes | None = None
        self._bundle: Mapping[str, bytes] | None = None

    def _fetch(self, url: str) -> Iterator[bytes]:
        """The bytes that are published under one of python-tuf's addresses."""
        if url.startswith(_METADATA_URL):
            data = self._metadata(url.removeprefix(_METADATA_URL))
        else:
            digest = url.rpartition("/")[2].partition(".")[0]
            try:
                encoded = self._get(file_name(digest))
                data = None if encoded is None else decode_file(encoded, MAX_INDEX_BYTES, digest)
            except UpdateError as exc:
                raise tuf.DownloadError(str(exc)) from exc
        if data is None:
            raise tuf.DownloadHTTPError(f"{url} is not published", 404)
        yield data

    def _metadata(self, name: str) -> bytes | None:
        if name == "timestamp.json":
            return self._newest()
        if name.endswith(".root.json") and self._believed and self._newest() == self._believed:
            # Nothing was signed since: a newer root comes with the next timestamp, which is
            # due within hours, and until then the large bundle need not be fetched for it.
            return None
        if self._bundle is None:
            encoded = self._get(METADATA)
            if encoded is None:
                raise tuf.DownloadError("the metadata bundle cannot be had")
            try:
                self._bundle = parse_metadata(encoded)
            except UpdateError as exc:
                raise tuf.DownloadError(str(exc)) from exc
        return self._bundle.get(name)

    def _newest(self) -> bytes | None:
        if self._timestamp is None:
            self._timestamp = self._get(TIMESTAMP)
        return self._timestamp


class _Translated:
    """Turns python-tuf's errors into ours, once, at this seam."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TrustError) or not isinstance(error, Exception):
            return
        # What our own formats refuse, of what was signed or on the way to python-tuf.
        own = error if isinstance(error, UpdateError) else error.__cause__
        if isinstance(own, UpdateError):
            word = "" if str(own).startswith("tampered: ") else "invalid: "
            raise TrustError(f"{word}{own}") from error
        for known, word in _REASONS:
            if isinstance(error, known):
                raise TrustError(f"{word}: {_said(error)}") from error
        raise TrustError(f"invalid: {type(error).__name__}: {error}") from error


def _sound(data: bytes) -> bool:
    try:
        Metadata.from_bytes(data)
    except tuf.RepositoryError:
        return False
    return True


def _said(error: Exception) -> str:
    cause = error.__cause__
    return str(error) if cause is None else f"{error} ({cause})"


def _revoked(info: TargetFile | None) -> frozenset[str]:
    listed = (info.custom or {}).get("releases") if info is not None else []
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise TrustError("invalid: the list of revoked releases is not a list of names")
    return frozenset(listed)
