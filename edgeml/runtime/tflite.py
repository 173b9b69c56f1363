"""The tflite-runtime interpreter: the only one that 32-bit ARM has.

Version 2.14 was built against numpy 1 and fails in strange ways on numpy 2,
without declaring it, so that is checked here. Its wheel for 32-bit ARM crashes
when a fully connected int8 layer runs on more than one row (seen under emulation),
so there every window runs by itself. That wheel was linked with fast-math, too:
importing it turns on flush-to-zero for the whole thread and every thread started
later, so that numbers below 1e-308 silently become 0 in code that has nothing to
do with it. fegetenv and fesetenv of C99 put the settings back.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator

import numpy as np

from edgeml.errors import MissingDependencyError
from edgeml.runtime.backend import DelegateSpec
from edgeml.runtime.interpreter import InterpreterBackend, open_interpreter

_ENVIRONMENT_BYTES = 64
"""More than any platform's fenv_t."""


def open_model(tflite: bytes, threads: int, delegate: DelegateSpec | None) -> InterpreterBackend:
    """Open a model in tflite-runtime.

    Raises:
        MissingDependencyError: the numpy beside it is version 2.
        BackendError: tflite-runtime refuses the model, or the delegate fails.
    """
    if int(np.__version__.partition(".")[0]) >= 2:
        raise MissingDependencyError(
            f"tflite-runtime needs numpy 1, this is {np.__version__}; "
            "install it with: pip install 'numpy<2'"
        )
    with _kept_float_environment():
        import tflite_runtime
        from tflite_runtime import interpreter

    batches = not os.uname().machine.startswith("armv")

    return open_interpreter(
        "tflite", tflite_runtime.__version__, interpreter, tflite, threads, delegate, batches
    )


@contextlib.contextmanager
def _kept_float_environment() -> Iterator[None]:
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
