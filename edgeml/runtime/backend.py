"""What edgeml asks of an interpreter, and which one this machine uses.

The choice is an argument, else the environment variable EDGEML_BACKEND, else
the first of `BACKENDS` that is installed. A missing interpreter is an error
that names the command which installs it here.
"""

import os
import platform
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Protocol

from edgeml.errors import BackendError, ConfigError, MissingDependencyError, nearest
from edgeml.runtime.tensors import Array, TensorSpec

ENVIRONMENT: Final = "EDGEML_BACKEND"


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
        name: one of `BACKENDS`.
        version: of the package behind it.
        threads: that it computes with.
        delegate: the delegate in use, by name; None for the interpreter's own kernels.
        input: the tensor that `run` takes.
        outputs: the tensors that `run` gives, in order.
    """

    name: str
    version: str
    threads: int
    delegate: str | None
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


@dataclass(frozen=True, slots=True)
class DelegateSpec:
    """An accelerator to use.

    Attributes:
        name: "xnnpack", "edgetpu", or the path of an external delegate's library.
        options: for the library, as its documentation lists them.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Home:
    package: str
    module: str
    distribution: str


BACKENDS: Final[Mapping[str, _Home]] = {
    "litert": _Home("ai_edge_litert", "edgeml.runtime.litert", "ai-edge-litert"),
    "tflite": _Home("tflite_runtime", "edgeml.runtime.tflite", "tflite-runtime"),
}


def installed() -> tuple[str, ...]:
    """The backends whose interpreter this Python can find, in order of preference."""
    return tuple(name for name, home in BACKENDS.items() if find_spec(home.package) is not None)


def choose(name: str | None = None) -> str:
    """The backend to use.

    Args:
        name: one of `BACKENDS`; None asks EDGEML_BACKEND and then takes the first installed.

    Raises:
        ConfigError: a name that is none of them.
        MissingDependencyError: its interpreter, or every one, is missing.
    """
    asked = name or os.environ.get(ENVIRONMENT) or None
    if asked is None:
        found = installed()
        if not found:
            raise MissingDependencyError(f"no interpreter is installed; {install_hint()}")
        return found[0]
    if asked not in BACKENDS:
        source = "backend" if name else ENVIRONMENT
        raise ConfigError(
            f"{source} {asked!r} is none of {', '.join(BACKENDS)}{nearest(asked, BACKENDS)}"
        )
    if find_spec(BACKENDS[asked].package) is None:
        raise MissingDependencyError(
            f"backend {asked!r} needs {BACKENDS[asked].distribution}, which is not installed; "
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
        threads: at least 1; None for 1, the best for the small models of sensors.
        delegate: an accelerator; None for the interpreter's own kernels.

    Raises:
        ConfigError: a backend that does not exist, or fewer than one thread.
        MissingDependencyError: the interpreter is not installed.
        BackendError: the interpreter refuses the model, or the delegate fails.
    """
    count = 1 if threads is None else threads
    if count < 1:
        raise ConfigError(f"threads is {threads}; a model runs on at least one")
    chosen = choose(name)
    opener: Callable[[bytes, int, DelegateSpec | None], Backend]
    opener = import_module(BACKENDS[chosen].module).open_model
    return opener(tflite, count, delegate)


def install_hint(
    name: str | None = None,
    machine: str | None = None,
    version: tuple[int, int] | None = None,
    managed: bool | None = None,
) -> str:
    """The command that installs an interpreter here.

    Args:
        name: of the backend; None for what suits the machine.
        machine: as `platform.machine()` says; None for this one.
        version: of Python; None for this one.
        managed: whether the system's package manager owns this Python (PEP 668).
    """
    machine = platform.machine() if machine is None else machine
    version = sys.version_info[:2] if version is None else version
    managed = _externally_managed() if managed is None else managed
    small = machine in ("armv7l", "armv6l")
    backend = name or ("tflite" if small else "litert")
    if small and backend == "litert":
        return "LiteRT has no wheel for 32-bit ARM; use the tflite backend"
    if backend == "tflite" and version >= (3, 12):
        return (
            f"tflite-runtime has no wheel for Python {version[0]}.{version[1]}; use Python 3.11 "
            "(as in Raspberry Pi OS Bookworm)" + ("" if small else " or the litert backend")
        )
    packages = "'tflite-runtime>=2.14,<2.15' 'numpy<2'" if backend == "tflite" else "ai-edge-litert"
    install = f"install it with: pip install {packages}"
    if managed:
        return (
            "the system manages this Python, so make an environment first: "
            f"python3 -m venv --system-site-packages ~/edgeml && . ~/edgeml/bin/activate; {install}"
        )
    return install


def _externally_managed() -> bool:
    """PEP 668: a marker beside the standard library, outside of any virtual environment."""
    if sys.prefix != sys.base_prefix:
        return False
    return (Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").exists()


def backend_error(what: str, exc: Exception) -> BackendError:
    """An interpreter's exception in edgeml's words, on one line."""
    detail = " ".join(str(exc).split())
    return BackendError(f"{what}: {detail[:300] or type(exc).__name__}")


__all__ = ["BACKENDS", "Backend", "DelegateSpec", "choose", "install_hint", "open_backend"]
