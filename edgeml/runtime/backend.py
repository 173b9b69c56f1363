"""What edgeml asks of an interpreter, and which one this machine uses.

The choice is an argument, else the environment variable EDGEML_BACKEND, else
the first of `BACKENDS` that is installed. A missing interpreter is an error
that names the command which installs it here. In the same way EDGEML_THREADS
and EDGEML_DELEGATE say how models run on this machine, whoever loads them: a
device, an update, a probe.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from edgeml.arrays import Array
from edgeml.errors import BackendError, ConfigError, MissingDependencyError, nearest
from edgeml.lazy import load
from edgeml.runtime.tensors import TensorSpec

ENVIRONMENT: Final = "EDGEML_BACKEND"
THREADS: Final = "EDGEML_THREADS"
DELEGATE: Final = "EDGEML_DELEGATE"


class Run(Protocol):
    """Computes."""

    def __call__(self, x: Array | None = None) -> Sequence[Array]:
        """Set the input, compute, copy the outputs.

        Args:
            x: of the input's shape and dtype; None where its `view` was written to.

        Returns:
            A copy of each output.

        Raises:
            BackendError: the interpreter failed.
        """
        ...


class Backend(Protocol):
    """A model opened in an interpreter.

    It must not be used by two threads at once; `Model` holds the lock.

    Attributes:
        name: one of `BACKENDS` or `WORKSTATION`.
        version: of the package behind it.
        threads: that it computes with.
        delegate: the delegate in use, by name; None for the interpreter's own kernels.
        batches: whether its batch axis may be resized beyond 1 and run.
        input: the tensor that `run` takes.
        outputs: the tensors that `run` gives, in order.
    """

    name: str
    version: str
    threads: int
    delegate: str | None
    batches: bool
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]

    @property
    def view(self) -> Callable[[], Array]:
        """Gives the memory of the input. Drop it before the next call of anything."""
        ...

    @property
    def run(self) -> Run:
        """See `Run`."""
        ...

    def resize(self, shape: tuple[int, ...]) -> None:
        """Give the input another shape; `input` and `outputs` say what came of it.

        Raises:
            BackendError: the model does not work with it.
        """
        ...

    def reset_variables(self) -> None:
        """Forget what the model's own variables hold from earlier runs."""
        ...


class DelegateSpec(NamedTuple):
    """An accelerator to use.

    Attributes:
        name: "xnnpack", "edgetpu", or the path of an external delegate's library.
        options: for the library, as its documentation lists them.
    """

    name: str
    options: Mapping[str, str] = MappingProxyType({})


def asked_delegate(delegate: str | DelegateSpec | None) -> DelegateSpec | None:
    """The one given, else that of EDGEML_DELEGATE: its name, then options as key=value."""
    if isinstance(delegate, str):
        return DelegateSpec(delegate)
    words = os.environ.get(DELEGATE, "").split()
    if delegate is not None or not words:
        return delegate
    return DelegateSpec(words[0], dict(word.partition("=")[::2] for word in words[1:]))


class _Home(NamedTuple):
    package: str
    module: str
    distribution: str


BACKENDS: Final[Mapping[str, _Home]] = {
    "litert": _Home("ai_edge_litert", "edgeml.runtime.litert", "ai-edge-litert"),
    "tflite": _Home("tflite_runtime", "edgeml.runtime.tflite", "tflite-runtime"),
}

WORKSTATION: Final[Mapping[str, _Home]] = {
    "tf.lite": _Home("edgeml_converters", "edgeml_converters.backend", "edgeml-converters"),
}
"""Backends from another distribution, opened only by name: TensorFlow takes seconds to load."""


def is_installed(package: str) -> bool:
    """Whether this Python can find a package.

    A folder on the path answers at once; `importlib.util`, which knows every
    other way, is a tenth of the time to a first result.
    """
    if any(os.path.isfile(f"{entry}/{package}/__init__.py") for entry in sys.path):  # noqa: PTH113
        return True
    from importlib.util import find_spec

    return find_spec(package) is not None


def installed() -> tuple[str, ...]:
    """The device's backends whose interpreter this Python can find, in order of preference."""
    return tuple(name for name, home in BACKENDS.items() if is_installed(home.package))


def choose(name: str | None = None) -> str:
    """The backend to use.

    Args:
        name: one of `BACKENDS` or `WORKSTATION`; None asks EDGEML_BACKEND and then takes
            the first of `BACKENDS` that is installed.

    Raises:
        ConfigError: a name that is none of them.
        MissingDependencyError: its interpreter, or every one, is missing.
    """
    asked = name or os.environ.get(ENVIRONMENT) or None
    if asked is None:
        found = next((name for name, home in BACKENDS.items() if is_installed(home.package)), None)
        if found is None:
            from edgeml.runtime.hints import install_hint

            raise MissingDependencyError(f"no interpreter is installed; {install_hint()}")
        return found
    known = {**BACKENDS, **WORKSTATION}
    if asked not in known:
        source = "backend" if name else ENVIRONMENT
        raise ConfigError(
            f"{source} {asked!r} is none of {', '.join(known)}{nearest(asked, known)}"
        )
    if asked in WORKSTATION and not is_installed(known[asked].package):
        raise MissingDependencyError(
            f"backend {asked!r} comes with {known[asked].distribution}, which is not installed; "
            "it is for a workstation, and a device needs none of it"
        )
    if not is_installed(known[asked].package):
        from edgeml.runtime.hints import install_hint

        raise MissingDependencyError(
            f"backend {asked!r} needs {known[asked].distribution}, which is not installed; "
            f"{install_hint(asked)}"
        )
    return asked


def open_backend(
    tflite: bytes,
    name: str | None = None,
    threads: int | None = None,
    delegate: DelegateSpec | None = None,
) -> Backend:
    """Open a model that is trusted: a corrupt one may end the process, see `probe`.

    Args:
        tflite: the model.
        name: of the backend, as for `choose`.
        threads: at least 1; None asks EDGEML_THREADS, and then takes 1, the best for the
            small models of sensors.
        delegate: an accelerator; None for the interpreter's own kernels.

    Raises:
        ConfigError: a backend that does not exist, or fewer than one thread.
        MissingDependencyError: the interpreter is not installed.
        BackendError: the interpreter refuses the model, or the delegate fails.
    """
    asked = os.environ.get(THREADS) or "1" if threads is None else threads
    count = int(asked) if str(asked).isdecimal() else 0
    if count < 1:
        raise ConfigError(f"threads is {asked}; a model runs on at least one")
    chosen = choose(name)
    opener: Callable[[bytes, int, DelegateSpec | None], Backend]
    opener = load({**BACKENDS, **WORKSTATION}[chosen].module).open_model
    return opener(tflite, count, delegate)


def backend_error(what: str, exc: Exception) -> BackendError:
    """An interpreter's exception in edgeml's words, on one line."""
    detail = " ".join(str(exc).split())
    return BackendError(f"{what}: {detail[:300] or type(exc).__name__}")


__all__ = ["BACKENDS", "WORKSTATION", "Backend", "DelegateSpec", "choose", "open_backend"]
