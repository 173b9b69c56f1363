"""Arrays in files: .npy and .npz, read without trust.

Nothing is unpickled, and what an archive says it unpacks to is bounded before
it is unpacked, so that a small hostile file cannot fill the memory.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import SensorError

MAX_BYTES: Final = 4 << 30
"""Of an archive's content."""

_DAMAGE: Final = (
    *(ValueError, EOFError, MemoryError, RuntimeError, NotImplementedError, KeyError),
    *(SyntaxError, zipfile.BadZipFile, zlib.error),
)
"""What numpy and zipfile raise on damage; MemoryError where a header claims a hostile size."""

Array = npt.NDArray[Any]


def read_arrays(path: Path) -> Array | dict[str, Array]:
    """The array of an .npy, or the arrays of an .npz by their names.

    Raises:
        SensorError: it is damaged, hostile, or holds pickled objects.
        OSError: it cannot be opened.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(member.file_size for member in archive.infolist())
            if size > MAX_BYTES:
                raise SensorError(f"{path}: {size} bytes once unpacked, more than {MAX_BYTES}")
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {name: np.asarray(loaded[name]) for name in loaded.files}
    except _DAMAGE as exc:
        detail = " ".join(str(exc).split())[:200] or type(exc).__name__
        raise SensorError(
            f"{path}: not an array file that can be read safely ({detail}); it should be .npy or "
            ".npz with numbers in it"
        ) from exc
