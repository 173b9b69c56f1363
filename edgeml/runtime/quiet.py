"""Keeps the native library's INFO lines off a device's log.

TFLite writes them to file descriptor 2 with no switch to turn them off. While
a model is opened, and only then, the descriptor points to memory; what is not
an INFO line is written on afterwards. Set EDGEML_NATIVE_LOG=1 to see them all.
"""

import contextlib
import os
import sys
from _thread import allocate_lock  # `threading` has more, and takes its time to import
from collections.abc import Iterator
from typing import BinaryIO, Final

ENVIRONMENT: Final = "EDGEML_NATIVE_LOG"
_STDERR: Final = 2
_lock = allocate_lock()


@contextlib.contextmanager
def quiet_native_log() -> Iterator[None]:
    """Hold back INFO lines that native code writes to stderr in the block.

    Other threads' lines are delayed until the block ends, never lost.
    """
    if os.environ.get(ENVIRONMENT):
        yield
        return
    with _lock:
        try:
            kept = os.dup(_STDERR)
        except OSError:  # a daemon without a stderr: nothing to keep quiet
            yield
            return
        with _memory_file() as held:
            _flush_python_stderr()
            os.dup2(held.fileno(), _STDERR)
            try:
                yield
            finally:
                _flush_python_stderr()
                os.dup2(kept, _STDERR)
                os.close(kept)
                held.seek(0)
                lines = [line for line in held if not line.startswith(b"INFO:")]
                with contextlib.suppress(OSError):
                    os.write(_STDERR, b"".join(lines))


def _memory_file() -> BinaryIO:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("edgeml-native-log"), "w+b")
    import tempfile

    return tempfile.TemporaryFile()


def _flush_python_stderr() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
