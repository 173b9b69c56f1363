"""One adapter for LiteRT and tflite-runtime, which share the TFLite interpreter's Python API.

It alone knows that API and its rules: details are looked up once because a
call costs microseconds, an array over the interpreter's memory must be gone
before the next call, and every failure is a ValueError or a RuntimeError.
"""

import platform
from collections.abc import Callable, Sequence
from typing import Any

from edgeml.errors import BackendError
from edgeml.runtime.backend import DelegateSpec, backend_error
from edgeml.runtime.quiet import quiet_native_log
from edgeml.runtime.tensors import Array, TensorSpec, spec_from_details

EDGETPU_LIBRARY = {"Linux": "libedgetpu.so.1", "Darwin": "libedgetpu.1.dylib"}


class InterpreterBackend:
    """A model opened in an interpreter of the TFLite family: see `backend.Backend`."""

    __slots__ = (
        "_get",
        "_indices",
        "_interpreter",
        "_invoke",
        "_out",
        "_set",
        "_views",
        "delegate",
        "inputs",
        "name",
        "outputs",
        "threads",
        "version",
    )

    def __init__(
        self,
        name: str,
        version: str,
        interpreter: Any,
        threads: int,
        delegate: str | None,
    ) -> None:
        """Take over an interpreter whose tensors are allocated."""
        self.name = name
        self.version = version
        self.threads = threads
        self.delegate = delegate
        self._interpreter = interpreter
        self._set: Callable[[int, Array], None] = interpreter.set_tensor
        self._get: Callable[[int], Array] = interpreter.get_tensor
        self._invoke: Callable[[], None] = interpreter.invoke
        self.inputs: tuple[TensorSpec, ...] = ()
        self.outputs: tuple[TensorSpec, ...] = ()
        self._look_up()

    def _look_up(self) -> None:
        self.inputs = tuple(map(spec_from_details, self._interpreter.get_input_details()))
        self.outputs = tuple(map(spec_from_details, self._interpreter.get_output_details()))
        if not self.inputs or not self.outputs:
            raise BackendError("the model has no inputs or no outputs")
        self._indices = tuple(spec.index for spec in self.inputs)
        self._views = tuple(self._interpreter.tensor(index) for index in self._indices)
        self._out = tuple(spec.index for spec in self.outputs)

    def view(self, i: int) -> Array:
        """The memory of input `i`. Drop it before the next call of any method."""
        array: Array = self._views[i]()
        return array

    def run(self, values: Sequence[Array | None]) -> tuple[Array, ...]:
        """Set the inputs, compute, and copy the outputs."""
        try:
            for index, value in zip(self._indices, values, strict=True):
                if value is not None:
                    self._set(index, value)
            self._invoke()
            if len(self._out) == 1:
                return (self._get(self._out[0]),)
            return tuple(map(self._get, self._out))
        except (ValueError, RuntimeError) as exc:
            raise backend_error("the interpreter failed while running the model", exc) from exc

    def resize(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Give the inputs other shapes."""
        try:
            for index, shape in zip(self._indices, shapes, strict=True):
                self._interpreter.resize_tensor_input(index, shape)
            with quiet_native_log():
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as exc:
            raise backend_error(f"the model does not take inputs of {shapes}", exc) from exc
        self._look_up()

    def reset_variables(self) -> None:
        """Set the model's own variables back to zero."""
        try:
            self._interpreter.reset_all_variables()
        except (ValueError, RuntimeError) as exc:
            raise backend_error("the model's variables cannot be reset", exc) from exc


def open_interpreter(
    name: str,
    version: str,
    api: Any,
    tflite: bytes,
    threads: int,
    delegate: DelegateSpec | None,
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
    return InterpreterBackend(name, version, interpreter, threads, label)


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
        with quiet_native_log():
            loaded = api.load_delegate(library, dict(delegate.options))
    except (ValueError, RuntimeError, OSError, AttributeError) as exc:
        raise backend_error(
            f"delegate {delegate.name!r} cannot be loaded from {library}", exc
        ) from exc
    return {"experimental_delegates": [loaded]}
