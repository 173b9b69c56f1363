"""Reads a whole HDF5 file in a process of its own, because HDF5 loops for ever on some damage.

Two hundred bytes of zeros in the right place are enough, and the loop is in C,
where no deadline in Python reaches. So the file is walked first by a worker
with limits; what it can read to the end, Keras can. The limit is of processor
time: a loop takes all of it, and a busy machine none.
"""

import io
import json
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, Final

from edgeml.errors import ConversionError
from edgeml.runtime.process import limit_process, module_command

LIMIT_S: Final = 10
"""Of processor time, beside what reading takes."""
PATIENCE: Final = 30
"""How many times as long it may take by the clock: a machine may be busy, or know no limit."""
MEMORY_MB: Final = 3 * 2048
"""Of a file in memory, and of the largest array in it."""
BYTES_A_SECOND: Final = 20 << 20
"""How fast a file is read at the least, on a slow disk."""
MAX_CONTENT_BYTES: Final = 2 << 30
_DAMAGE: Final = (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError)
"""What h5py raises, as far as it notices."""


def probe(path: Path, member: str | None = None) -> str | None:
    """Walk a file and give the model's configuration, where it holds one.

    Args:
        path: an HDF5 file, or a zip.
        member: the HDF5 file in that zip; None for `path` itself.

    Raises:
        ConversionError: it is damaged, or unpacks to more than 2 GiB.
    """
    limit_s = LIMIT_S + path.stat().st_size // BYTES_A_SECOND
    command = [*module_command(__name__), str(limit_s), str(path)]
    command += [] if member is None else [member]
    loops = ConversionError(f"{path}: damaged (HDF5 comes to no end in it); fetch it again")
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE * limit_s, check=False)
    except subprocess.TimeoutExpired:
        raise loops from None
    if done.returncode == -signal.SIGKILL:
        raise loops
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["HDF5 crashes on it"]
        raise ConversionError(f"{path}: damaged ({lines[-1][:200]}); fetch it again")
    config: str | None = json.loads(done.stdout)
    return config


def main() -> None:
    """The worker: prints the configuration as a JSON string, or ends with one line of error."""
    import h5py

    source: Any = sys.argv[2]
    limit_process(int(time.process_time()) + int(sys.argv[1]), MEMORY_MB, file_bytes=0)
    try:
        if len(sys.argv) > 3:
            with zipfile.ZipFile(source) as archive:
                source = io.BytesIO(archive.read(sys.argv[3]))
        with h5py.File(source, "r") as file:
            config = file.attrs.get("model_config")
            file.visititems(_Reader())
    except (*_DAMAGE, zipfile.BadZipFile) as exc:
        sys.exit(" ".join(f"{type(exc).__name__}: {exc}".split()))
    print(json.dumps(config.decode() if isinstance(config, bytes) else config))


class _Reader:
    """Reads every dataset and attribute that `visititems` shows it."""

    def __init__(self) -> None:
        self._left = MAX_CONTENT_BYTES

    def __call__(self, name: str, item: Any) -> None:
        dict(item.attrs)
        if hasattr(item, "nbytes"):
            self._left -= item.nbytes
            if self._left < 0:
                raise ValueError(f"{name} makes it more than {MAX_CONTENT_BYTES} bytes")
            item[()]


if __name__ == "__main__":
    main()
