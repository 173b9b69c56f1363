"""The tflite-runtime interpreter: the only one that 32-bit ARM has.

Version 2.14 was built against numpy 1 and fails in strange ways on numpy 2,
without declaring it, so that is checked here. Its wheel for 32-bit ARM crashes
when a fully connected int8 layer runs on more than one row (seen under emulation),
so there every window runs by itself.
"""

import os

import numpy as np

from edgeml.errors import MissingDependencyError
from edgeml.runtime.backend import DelegateSpec
from edgeml.runtime.floatenv import kept_float_environment
from edgeml.runtime.interpreter import InterpreterBackend, open_interpreter


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
    with kept_float_environment():
        import tflite_runtime
        from tflite_runtime import interpreter

    batches = not os.uname().machine.startswith("armv")

    return open_interpreter(
        "tflite", tflite_runtime.__version__, interpreter, tflite, threads, delegate, batches
    )
