"""What was believed last, on the medium, and a second time for the case that the power goes.

python-tuf writes a file beside the old one and renames it, without a sync. On
some file systems a power cut then leaves an empty file under the old name, and
with it goes the version that was seen: older metadata could come back. So
everything is synced before anything is done about it, and copied once it is; a
file that a cut has torn is put back from its copy at the next start.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from edgeml.ota.disk import Disk, replace

_KEPT: Final = "kept"
_ROOTS: Final = "root_history"


class Kept:
    """The files of a folder that python-tuf writes.

    Args:
        folder: the folder, which is there.
        disk: the file operations.
        sound: whether the bytes of a file can be what was written.
    """

    def __init__(self, folder: Path, disk: Disk, sound: Callable[[bytes], bool]) -> None:
        self._folder = folder
        self._disk = disk
        self._sound = sound

    def restore(self) -> None:
        """Remove what a process that was killed left half done, and mend what a cut has torn."""
        for name in self._disk.names(self._folder):
            if name.startswith("tmp"):  # as python-tuf names what it has not renamed yet
                self._disk.remove(self._folder / name)
        self._disk.make_folder(self._folder / _ROOTS)
        self._disk.make_folder(self._folder / _KEPT)
        for name in self._disk.names(self._folder / _KEPT):
            place = self._folder / _ROOTS / name if name[0].isdigit() else self._folder / name
            copy = self._disk.read(self._folder / _KEPT / name)
            found = self._disk.read(place)
            if name.endswith(".json") and copy and (found is None or not self._sound(found)):
                replace(self._disk, place, copy)

    def sync(self) -> None:
        """Put the files on the medium, then their copies."""
        found = [
            path
            for folder in (self._folder, self._folder / _ROOTS)
            for name in self._disk.names(folder)
            if name.endswith(".json") and not (path := folder / name).is_symlink()
        ]
        for path in found:
            self._disk.sync(path)
        self._disk.sync_folder(self._folder / _ROOTS)
        self._disk.sync_folder(self._folder)
        for path in found:
            data, copy = self._disk.read(path), self._folder / _KEPT / path.name
            if data is not None and data != self._disk.read(copy):
                replace(self._disk, copy, data)
