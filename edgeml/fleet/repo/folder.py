"""The repository's folder: what lies where, written whole or not at all, by one command at a time.

    repo.json               signers by key, lifetimes by role
    keys/                   private keys; ignored by git, mode 0600
    metadata/               1.root.json, 4.targets.json, …, timestamp.json
    targets/releases/…      HASH.NAME-VERSION: release indexes; beside them rules and revocations
    chunks/                 SHA256: each chunk as it travels
    published/              what went to which broker; ignored by git

Every file but `repo.json` and `timestamp.json` has its version or its hash in its name and never
changes; `timestamp.json` is replaced last, so whatever is killed before changed nothing.
"""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeml.errors import BusyError, UpdateError
from edgeml.releases.names import checked_digest

_LOCK_S: Final = 1.0
_GITIGNORE: Final = "keys/\npublished/\n.lock\n"


@dataclass(frozen=True, slots=True)
class Folder:
    """The places of one repository."""

    root: Path

    @property
    def settings(self) -> Path:
        """The file that says how each role signs."""
        return self.root / "repo.json"

    @property
    def keys(self) -> Path:
        """Where private keys that are files are made."""
        return self.root / "keys"

    def metadata(self, name: str) -> Path:
        """A metadata file by the name that a TUF client asks for."""
        return self.root / "metadata" / name

    def target(self, path: str, digest: str) -> Path:
        """A target file, as TUF's consistent snapshots name it."""
        place = self.root / "targets" / path
        return place.with_name(f"{checked_digest(digest)}.{place.name}")

    def chunk(self, digest: str) -> Path:
        """A chunk, packed."""
        return self.root / "chunks" / checked_digest(digest)

    def root_versions(self) -> list[int]:
        """The versions of the root that are here, from 1 on without a hole."""
        version = 1
        while self.metadata(f"{version}.root.json").exists():
            version += 1
        return list(range(1, version))

    def create(self) -> None:
        """Make the folder.

        Raises:
            UpdateError: there is a repository in it, or it cannot be written.
        """
        if self.settings.exists():
            raise UpdateError(f"{self.root}: is a repository already; choose another folder")
        try:
            for name in ("keys", "metadata", "targets", "chunks", "published"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            self.keys.chmod(0o700)
        except OSError as exc:
            raise UpdateError(f"{self.root}: cannot be written ({exc.strerror})") from exc
        write_file(self.root / ".gitignore", _GITIGNORE.encode())

    def check(self) -> None:
        """That there is a repository.

        Raises:
            UpdateError: there is none.
        """
        if not self.settings.exists():
            raise UpdateError(
                f"{self.root}: no repository in it; make one: edgeml repo init {self.root}"
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands out.

        Raises:
            BusyError: another one is at work.
            UpdateError: there is no repository here.
        """
        self.check()
        with (self.root / ".lock").open("a") as lock:
            self._take(lock.fileno())
            yield

    def _take(self, lock: int) -> None:
        give_up_s = time.monotonic() + _LOCK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() < give_up_s:
                    time.sleep(0.05)
                    continue
                raise BusyError(
                    f"{self.root}: another edgeml command works on it; try again when it is done"
                ) from None
            return


def read_file(path: Path) -> bytes:
    """A file of the repository.

    Raises:
        UpdateError: it is missing or unreadable.
    """
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UpdateError(
            f"{path}: cannot be read ({exc.strerror}); restore it from the repository's history"
        ) from exc


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all, and see it to the disk.

    Raises:
        UpdateError: the disk is full, or the folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as exc:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise UpdateError(f"{path}: cannot be written ({exc.strerror or exc})") from exc


def sync_folder(folder: Path) -> None:
    """See a folder's names to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
