"""The LiteRT interpreter: the default on 64-bit ARM, x86-64 and macOS.

Its older `Interpreter` class and not `CompiledModel`: on a corrupt file the
first raises, the second ends the process.
"""

from functools import cache
from importlib.metadata import version

from edgeml.runtime.backend import DelegateSpec
from edgeml.runtime.interpreter import InterpreterBackend, open_interpreter


def open_model(tflite: bytes, threads: int, delegate: DelegateSpec | None) -> InterpreterBackend:
    """Open a model in LiteRT.

    Raises:
        BackendError: LiteRT refuses the model, or the delegate fails.
    """
    from ai_edge_litert import interpreter

    return open_interpreter("litert", _version(), interpreter, tflite, threads, delegate)


@cache
def _version() -> str:
    """Looked up once: it searches every installed package."""
    return version("ai-edge-litert")
