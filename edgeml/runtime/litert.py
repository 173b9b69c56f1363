"""The LiteRT interpreter: the default on 64-bit ARM, x86-64 and macOS.

Its older `Interpreter` class and not `CompiledModel`: on a corrupt file the
first raises, the second ends the process.
"""

from edgeml.runtime.backend import DelegateSpec
from edgeml.runtime.interpreter import InterpreterBackend, open_interpreter


def open_model(tflite: bytes, threads: int, delegate: DelegateSpec | None) -> InterpreterBackend:
    """Open a model in LiteRT.

    Raises:
        BackendError: LiteRT refuses the model, or the delegate fails.
    """
    import ai_edge_litert
    from ai_edge_litert import interpreter

    return open_interpreter(
        "litert", ai_edge_litert.__version__, interpreter, tflite, threads, delegate
    )
