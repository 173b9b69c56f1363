"""One process at a time uses a device's folder of updates: whoever holds its lock.

The lock is the kernel's, so it ends with the process, however that ends. Its
file says who has it, for messages.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from edgeml.errors import UpdateError

_SAFELY: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Root takes the lock of a service, too, which must not lead it to a file of somebody else."""

_MAX_PID_BYTES: Final = 20


class FolderLock:
    """The lock of a folder, held until `release`.

    Args:
        folder: made if it is not there.

    Raises:
        UpdateError: another process has it, or the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "lock"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | _SAFELY, 0o644)
        except OSError as exc:
            raise UpdateError(f"disk: {folder} cannot be written ({exc.strerror or exc})") from exc
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(self._file)
            raise UpdateError(
                f"busy: {folder} is used by process {holder_of(folder) or 'unknown'}; a device "
                "has one process, give another one a state folder of its own"
            ) from exc
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process have it. May be repeated."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def holder_of(folder: Path) -> int | None:
    """The process that has a folder's lock, or had it last; None where nobody knows."""
    try:
        with os.fdopen(os.open(folder / "lock", os.O_RDONLY | _SAFELY), "rb") as file:
            return int(file.read(_MAX_PID_BYTES))
    except (OSError, TypeError, ValueError):
        return None


def is_held(folder: Path) -> bool:
    """Whether a process has a folder's lock at this moment."""
    try:
        file = os.open(folder / "lock", os.O_RDONLY | _SAFELY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
