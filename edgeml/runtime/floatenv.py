"""Keeps the processor's floating-point settings through an import that changes them.

tflite-runtime's wheel for 32-bit ARM was linked with fast-math: importing it
turns on flush-to-zero for the whole thread and every thread started later, so
that numbers below 1e-308 silently become 0 in code that has nothing to do with
it. fegetenv and fesetenv of C99 put the settings back.
"""

import contextlib
import ctypes
from collections.abc import Iterator

_ENVIRONMENT_BYTES = 64
"""More than any platform's fenv_t."""


@contextlib.contextmanager
def kept_float_environment() -> Iterator[None]:
    """What the block does to this thread's floating-point settings is undone after it.

    Where the C library has no such functions the block runs as it is.
    """
    settings = ctypes.create_string_buffer(_ENVIRONMENT_BYTES)
    try:
        library = ctypes.CDLL(None)
        known = library.fegetenv(settings) == 0
    except (OSError, AttributeError):
        known = False
    try:
        yield
    finally:
        if known:
            library.fesetenv(settings)
