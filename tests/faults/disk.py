"""A disk that can be full: a small file system of its own, or where that is not allowed, a limit.

With root a tmpfs of a few megabytes is mounted and ballast fills it, so that
the kernel itself says ENOSPC to everybody. Without, RLIMIT_FSIZE of the running
processes is lowered from outside: files may not grow, which SQLite reports
as another error.
"""

import contextlib
import os
import resource
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

_SIZE_BYTES = 48 << 20
_LEAST_BYTES = 16 * 4096


class Disk(Protocol):
    """Where processes write, until it is full."""

    home: Path

    def fill(self, left_bytes: int) -> None: ...

    def clear(self) -> None: ...

    def close(self) -> None: ...


class SmallDisk:
    """A file system of its own; raises OSError where mounting is not allowed."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.home = home
        command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE_BYTES}", "edgeml-faults", str(home)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except subprocess.CalledProcessError as exc:
            home.rmdir()
            raise OSError(exc.stderr.decode()) from exc
        self._ballast = home / "ballast"

    def fill(self, left_bytes: int) -> None:
        status = os.statvfs(self.home)
        size = max(status.f_bavail * status.f_frsize - left_bytes, 0)
        with self._ballast.open("wb") as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(size, 1))

    def clear(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        # Lazily: a process that was just killed may not have let go of its files.
        subprocess.run(["umount", "--lazy", str(self.home)], check=True)


class LimitedDisk:
    """A folder, and processes whose files may not grow."""

    def __init__(self, home: Path, writers: Callable[[], Iterable[int]]) -> None:
        home.mkdir()
        self.home = home
        self._writers = writers

    def fill(self, left_bytes: int) -> None:
        self._limit(max(left_bytes, _LEAST_BYTES))

    def clear(self) -> None:
        self._limit(resource.RLIM_INFINITY)

    def close(self) -> None:
        self.clear()

    def _limit(self, size: int) -> None:
        for pid in self._writers():
            with contextlib.suppress(ProcessLookupError):
                _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                soft = hard if size == resource.RLIM_INFINITY else size
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def a_disk(home: Path, writers: Callable[[], Iterable[int]]) -> Disk:
    """The best that this machine allows."""
    try:
        return SmallDisk(home)
    except OSError:
        return LimitedDisk(home, writers)
