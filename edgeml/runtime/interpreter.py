"""One adapter for LiteRT and tflite-runtime, which share the TFLite interpreter's Python API.

It alone knows that API and its rules: details are looked up once because a
call costs microseconds, an array over the interpreter's memory must be gone
before the next call, and every failure is a ValueError or a RuntimeError.
"""

import ctypes
import platform
from collections.abc import Callable, Sequence
from typing import Any

from edgeml.arrays import Array
from edgeml.errors import BackendError
from edgeml.runtime.backend import DelegateSpec, Run, backend_error
from edgeml.runtime.quiet import quiet_native_log
from edgeml.runtime.tensors import TensorSpec, spec_from_details

EDGETPU_LIBRARY = {"Linux": "libedgetpu.so.1", "Darwin": "libedgetpu.1.dylib"}
DELEGATE_FUNCTIONS = ("tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate")


class InterpreterBackend:
    """A model opened in an interpreter of the TFLite family: see `backend.Backend`."""

    __slots__ = (
        "_index",
        "_interpreter",
        "batches",
        "delegate",
        "input",
        "name",
        "outputs",
        "run",
        "threads",
        "version",
        "view",
    )

    def __init__(
        self,
        name: str,
        version: str,
        interpreter: Any,
        threads: int,
        delegate: str | None,
        batches: bool = True,
    ) -> None:
        """Take over an interpreter whose tensors are allocated."""
        self.name = name
        self.version = version
        self.threads = threads
        self.delegate = delegate
        self.batches = batches
        self._interpreter = interpreter
        self.input, self.outputs = self._look_up()
        self._index = self.input.number
        self.view: Callable[[], Array] = interpreter.tensor(self._index)
        self.run = _runner(interpreter, self._index, [spec.number for spec in self.outputs])

    def _look_up(self) -> tuple[TensorSpec, tuple[TensorSpec, ...]]:
        try:
            given = self._interpreter.get_input_details()
            made = self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as exc:  # a name that is no UTF-8 is a ValueError
            raise backend_error("the interpreter cannot name the model's tensors", exc) from exc
        inputs = tuple(map(spec_from_details, given))
        outputs = tuple(map(spec_from_details, made))
        if len(inputs) != 1:
            names = ", ".join(spec.name for spec in inputs)
            raise BackendError(
                f"the model has {len(inputs)} inputs ({names}); edgeml runs models with one: "
                "join them in the graph, with a split as its first operator"
            )
        if not outputs:
            raise BackendError("the model has no output")
        return inputs[0], outputs

    def resize(self, shape: tuple[int, ...]) -> None:
        """Give the input another shape."""
        try:
            self._interpreter.resize_tensor_input(self._index, shape)
            with quiet_native_log():
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as exc:
            raise backend_error(f"the model does not take an input of {list(shape)}", exc) from exc
        self.input, self.outputs = self._look_up()

    def reset_variables(self) -> None:
        """Set the model's own variables back to zero."""
        try:
            self._interpreter.reset_all_variables()
        except (ValueError, RuntimeError) as exc:
            raise backend_error("the model's variables cannot be reset", exc) from exc


def _runner(interpreter: Any, given: int, outputs: Sequence[int]) -> Run:
    """The protocol's `run`, with the interpreter's methods in local variables."""
    set_tensor, invoke, get_tensor = (
        interpreter.set_tensor,
        interpreter.invoke,
        interpreter.get_tensor,
    )
    only = outputs[0] if len(outputs) == 1 else None

    def run(x: Array | None = None) -> Sequence[Array]:
        try:
            if x is not None:
                set_tensor(given, x)
            invoke()
            if only is not None:
                return (get_tensor(only),)
            return [get_tensor(index) for index in outputs]
        except (ValueError, RuntimeError) as exc:
            raise backend_error("the interpreter failed while running the model", exc) from exc

    return run


def open_interpreter(
    name: str,
    version: str,
    api: Any,
    tflite: bytes,
    threads: int,
    delegate: DelegateSpec | None,
    batches: bool = True,
) -> InterpreterBackend:
    """Open a model with the `interpreter` module of a package of the TFLite family.

    Raises:
        BackendError: the interpreter refuses the model, or the delegate fails.
    """
    options: dict[str, Any] = {}
    label = None
    if delegate is not None:
        label = delegate.name
        options = _delegate_options(api, delegate)
    try:
        with quiet_native_log():
            interpreter = api.Interpreter(model_content=tflite, num_threads=threads, **options)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError, MemoryError) as exc:
        what = "the interpreter refuses the model"
        if label is not None:
            what = f"delegate {label!r} cannot take the model"
        raise backend_error(what, exc) from exc
    return InterpreterBackend(name, version, interpreter, threads, label, batches)


def _delegate_options(api: Any, delegate: DelegateSpec) -> dict[str, Any]:
    if delegate.name == "xnnpack":  # what both packages apply by themselves
        return {}
    if delegate.name == "none":
        resolver = api.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        return {"experimental_op_resolver_type": resolver}
    library = delegate.name
    if library == "edgetpu":
        library = EDGETPU_LIBRARY.get(platform.system(), "edgetpu.dll")
    try:
        # First by ourselves: without the library, or where it is something else, the
        # package prints a traceback of its own.
        opened = ctypes.CDLL(library)
        for function in DELEGATE_FUNCTIONS:
            getattr(opened, function)
        with quiet_native_log():
            loaded = api.load_delegate(library, dict(delegate.options))
    except (ValueError, RuntimeError, OSError, AttributeError) as exc:
        raise backend_error(
            f"delegate {delegate.name!r} cannot be loaded from {library}", exc
        ) from exc
    return {"experimental_delegates": [loaded]}
