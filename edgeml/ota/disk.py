"""The few file operations that the store is built of, each one a point where power can fail.

Nothing in `store.py` touches a file in another way, so a test that counts,
kills at or forgets these operations has seen every way in which the store can
be interrupted. `replace` is the pattern by which a small file changes whole or
not at all: write beside it, sync, rename, sync the folder.
"""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """A place for files; paths are below the store's folder."""

    def read(self, path: Path) -> bytes | None:
        """All of a file; None where there is none."""
        ...

    def names(self, folder: Path) -> tuple[str, ...]:
        """What is in a folder, sorted; nothing where there is no folder."""
        ...

    def free_bytes(self, folder: Path) -> int:
        """Room for more."""
        ...

    def make_folder(self, folder: Path) -> None:
        """Make a folder and those above it."""
        ...

    def write(self, path: Path, offset: int, data: bytes) -> None:
        """Put bytes into a file, which need not be there yet."""
        ...

    def sync(self, path: Path) -> None:
        """Put a file's bytes on the medium."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Put a folder's names on the medium."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, replacing what had it."""
        ...

    def remove(self, path: Path) -> None:
        """Forget a file; nothing where there is none."""
        ...


class SystemDisk:
    """The machine's own files."""

    def read(self, path: Path) -> bytes | None:
        """All of a file; None where there is none."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def names(self, folder: Path) -> tuple[str, ...]:
        """What is in a folder, sorted; nothing where there is no folder."""
        try:
            return tuple(sorted(path.name for path in folder.iterdir()))
        except FileNotFoundError:
            return ()

    def free_bytes(self, folder: Path) -> int:
        """Room for more."""
        return shutil.disk_usage(folder).free

    def make_folder(self, folder: Path) -> None:
        """Make a folder and those above it."""
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, path: Path, offset: int, data: bytes) -> None:
        """Put bytes into a file, which need not be there yet."""
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            view = memoryview(data)
            while view:
                written = os.pwrite(file, view, offset)
                view, offset = view[written:], offset + written
        finally:
            os.close(file)

    def sync(self, path: Path) -> None:
        """Put a file's bytes on the medium."""
        _sync(path, os.O_RDONLY)

    def sync_folder(self, folder: Path) -> None:
        """Put a folder's names on the medium."""
        _sync(folder, os.O_RDONLY | os.O_DIRECTORY)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, replacing what had it."""
        old.replace(new)

    def remove(self, path: Path) -> None:
        """Forget a file; nothing where there is none."""
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def replace(disk: Disk, path: Path, data: bytes) -> None:
    """Change a small file whole or not at all; durable when this returns."""
    fresh = path.with_name(path.name + ".new")
    disk.remove(fresh)
    disk.write(fresh, 0, data)
    disk.sync(fresh)
    disk.rename(fresh, path)
    disk.sync_folder(path.parent)


def _sync(path: Path, flags: int) -> None:
    file = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
