"""Every error that edgeml raises, in one tree with one root.

Catch `EdgeMLError` to catch them all. Each branch also inherits the builtin it
is a kind of, so that code which knows nothing of edgeml still handles it, and
carries the exit status with which the command line ends.
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar


class EdgeMLError(Exception):
    """The root of the tree."""

    exit_code: ClassVar[int] = 10


class BundleError(EdgeMLError, ValueError):
    """The file is not a bundle that this version can use."""

    exit_code = 11


class ManifestError(BundleError):
    """The manifest inside a bundle is missing, malformed or of a future schema."""

    exit_code = 12


class InputError(EdgeMLError, ValueError):
    """A window or an array does not fit what the model expects."""

    exit_code = 13


class PreprocessError(EdgeMLError, ValueError):
    """A preprocessing step is unknown, or its parameters do not fit."""

    exit_code = 14


class BackendError(EdgeMLError, RuntimeError):
    """The interpreter refused the model or failed while running it."""

    exit_code = 15


class MissingDependencyError(EdgeMLError, ImportError):
    """A package that this call needs is not installed; the message names the command."""

    exit_code = 16


class SensorError(EdgeMLError, OSError):
    """A sensor is missing, silent or sends what cannot be read."""

    exit_code = 17


class ConfigError(EdgeMLError, ValueError):
    """An option or a configuration key is wrong."""

    exit_code = 18


class OutboxError(EdgeMLError, RuntimeError):
    """The outbox's database cannot be opened, or cannot take a row."""

    exit_code = 19


class LinkError(EdgeMLError, ConnectionError):
    """The broker cannot be reached, or refuses this client."""

    exit_code = 20


class ProtocolError(EdgeMLError, ValueError):
    """A message breaks the protocol of docs/protocol.md."""

    exit_code = 21


class StoreError(EdgeMLError, RuntimeError):
    """The fleet's store cannot be opened, or cannot take a batch."""

    exit_code = 22


class ConversionError(EdgeMLError, RuntimeError):
    """A model cannot be converted, or the result is not what was asked for."""

    exit_code = 23


class VerificationError(EdgeMLError, RuntimeError):
    """A model runs, but does not keep what its bundle promises on this machine."""

    exit_code = 25


class UpdateError(EdgeMLError, RuntimeError):
    """An update cannot be published, fetched or installed."""

    exit_code = 26


class BusyError(UpdateError):
    """Another command works on the same repository."""


class TrustError(UpdateError):
    """Who signed an update, or when, is not what this device or repository trusts."""

    exit_code = 27


def told(error: EdgeMLError) -> dict[str, str]:
    """An error for another process, as JSON values: its text as `error`, its class as `kind`."""
    return {"error": str(error), "kind": type(error).__name__}


def retold(said: Mapping[str, object], otherwise: type[EdgeMLError]) -> EdgeMLError:
    """The error of another process in its own class; `otherwise` where `kind` names none of these.

    Args:
        said: by `told`, in a process that need not be of this version.
        otherwise: for a class that is not known here.
    """
    kind = globals().get(str(said.get("kind")))
    if isinstance(kind, type) and issubclass(kind, EdgeMLError):
        otherwise = kind
    return otherwise(str(said["error"]))


def nearest(word: str, known: Iterable[str], question: str = "did you mean") -> str:
    """A tail for an error message: `; did you mean 'x'?`, or nothing when no known word is near."""
    from difflib import get_close_matches  # only needed on the way to an error

    match = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; {question} {match[0]!r}?" if match else ""
