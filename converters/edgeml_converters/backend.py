"""TensorFlow's own interpreter as a backend of edgeml, `tf.lite`: for workstations only.

It is the interpreter that the converter's results were meant for when they were
made, so it answers whether a difference comes from the model or from the
runtime. TensorFlow takes seconds to import; nothing chooses it by itself.
"""

import warnings

from edgeml.runtime.backend import DelegateSpec
from edgeml.runtime.interpreter import InterpreterBackend, open_interpreter
from edgeml_converters.lite import tensorflow


def open_model(tflite: bytes, threads: int, delegate: DelegateSpec | None) -> InterpreterBackend:
    """Open a model in TensorFlow's interpreter.

    Raises:
        MissingDependencyError: TensorFlow is not installed.
        BackendError: the interpreter refuses the model, or the delegate fails.
    """
    version = tensorflow().__version__
    from tensorflow.lite.python import interpreter

    with warnings.catch_warnings():
        # It announces its own removal, for LiteRT, each time.
        warnings.simplefilter("ignore", UserWarning)
        return open_interpreter("tf.lite", version, interpreter, tflite, threads, delegate)
