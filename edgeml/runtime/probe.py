"""Opens a model that nobody trusts yet, in a process of its own.

A corrupt model can crash the interpreter, and a crash here costs a child
process, never the device. The child (`probechild`) limits its own memory, CPU
time and files before it reads the model; this side limits the wall clock and
says in plain words what became of it. What a probe finds is a report; only what
keeps it from looking (no such file) is an error.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

from edgeml.bundle import MAX_BUNDLE_BYTES
from edgeml.errors import BackendError, BundleError, ConfigError, EdgeMLError, retold
from edgeml.runtime.process import module_command

CHILD: Final = "edgeml.runtime.probechild"
_MAX_REPORT_BYTES: Final = 1 << 20
_MAX_STDERR_BYTES: Final = 4096
_LEAST: Final = {"timeout_s": 1e-3, "cpu_s": 1, "memory_mb": 64, "file_bytes": 1, "runs": 1}
_MOST: Final = 1e9


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """What a probe may use.

    Attributes:
        timeout_s: of wall clock, then it is killed.
        cpu_s: of CPU time.
        memory_mb: of memory for data, beyond what program files take; numpy alone takes 64.
        file_bytes: of the model file.
        runs: timed predictions, fewer where they take longer than a third of the time.

    Raises:
        ConfigError: a limit that limits nothing, or leaves nothing.
    """

    timeout_s: float = 60.0
    cpu_s: int = 60
    memory_mb: int = 512
    file_bytes: int = 256 << 20
    runs: int = 100

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not least <= value <= _MOST:  # neither is NaN
                raise ConfigError(f"{name} is {value}; a probe's limit is {least:g} to {_MOST:g}")


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What became of a probe.

    Attributes:
        ok: whether the model may serve: it loads, passes its golden test and keeps its budgets.
        error: why it cannot be used at all; None where it ran.
        kind: the class of that error, in `edgeml.errors`.
        violations: promises of the bundle that it breaks on this machine.
        facts: of the child: name, version, digest, golden, p50_ms, p95_ms,
            peak_rss_mb, load_ms, backend and more; empty where it did not get that far.
        wall_s: what the probe took.
    """

    ok: bool
    error: str | None = None
    kind: str | None = None
    violations: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    wall_s: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """JSON values: the facts beside the rest."""
        document = asdict(self)
        facts = document.pop("facts")
        return {**document, **facts}

    def raise_error(self) -> None:
        """Raise what kept the model from running; nothing where it ran."""
        if self.error is not None:
            raise retold({"error": self.error, "kind": self.kind}, BackendError)


def probe(
    path: str | os.PathLike[str],
    limits: ProbeLimits | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> ProbeReport:
    """Load a model in a child process, run its golden test and time it.

    Args:
        path: a bundle or a plain .tflite.
        limits: None for the defaults.
        backend: as for `Model.load`.
        threads: as for `Model.load`.

    Raises:
        BundleError: the file is missing or too large to look at.
    """
    limits = ProbeLimits() if limits is None else limits
    _check_file(path, limits)
    order = {
        "path": os.fspath(path),
        "backend": backend,
        "threads": threads,
        "cpu_s": limits.cpu_s,
        "memory_mb": limits.memory_mb,
        "runs": limits.runs,
        "budget_s": limits.timeout_s / 3,
    }
    start = monotonic()
    outcome = run_child("verify", order, limits.timeout_s)
    wall_s = monotonic() - start
    if isinstance(outcome, EdgeMLError):
        return ProbeReport(False, str(outcome), type(outcome).__name__, wall_s=wall_s)
    violations = tuple(outcome.pop("violations", ()))
    return ProbeReport(not violations, violations=violations, facts=outcome, wall_s=wall_s)


def run_child(
    task: str, order: Mapping[str, Any], timeout_s: float
) -> dict[str, Any] | EdgeMLError:
    """Give the child an order and take its report.

    Args:
        task: one of the child's: "verify" or "bench".
        order: JSON values.
        timeout_s: after which it is killed.

    Returns:
        The report, or the error that the child met or died of.
    """
    whole = json.dumps({"parent": os.getpid(), **order})
    # Files and not pipes: a child that says much must not wait for somebody to read it.
    with tempfile.TemporaryFile() as report, tempfile.TemporaryFile() as stderr:
        child = subprocess.Popen(
            [*module_command(CHILD), task, str(report.fileno()), whole],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=(report.fileno(),),
            env=_environment(),
            start_new_session=True,
        )
        try:
            child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            _kill(child)
            return BackendError(
                f"{order['path']}: it did not finish within {timeout_s:g} s and was stopped"
            )
        except BaseException:
            _kill(child)
            raise
        report.seek(0)
        content = report.read(_MAX_REPORT_BYTES)
        stderr.seek(max(0, stderr.tell() - _MAX_STDERR_BYTES))
        return _understand(str(order["path"]), child.returncode, content, stderr.read())


def _understand(
    path: str, status: int, content: bytes, stderr: bytes
) -> dict[str, Any] | EdgeMLError:
    try:
        report = json.loads(content)
        error = report.get("error")
    except (ValueError, AttributeError):
        return BackendError(f"{path}: opening it ended the probe ({_death(status, stderr)})")
    if error is not None:
        return retold(report, BackendError)
    return dict(report)


def _death(status: int, stderr: bytes) -> str:
    last = stderr.decode(errors="replace").strip().rpartition("\n")[2][:200]
    if status < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-status).name
            return f"killed by {name}" + (
                f", which is {_MEANING[name]}" if name in _MEANING else ""
            )
    return f"exit status {status}" + (f": {last}" if last else "")


_MEANING: Final = {
    "SIGKILL": "what the kernel does when memory runs out",
    "SIGXCPU": "the limit on CPU time",
    "SIGSEGV": "what a corrupt model does to an interpreter",
    "SIGABRT": "what a corrupt model does to an interpreter",
}


def _check_file(path: str | os.PathLike[str], limits: ProbeLimits) -> None:
    where = os.fspath(path)
    try:
        size = Path(path).stat().st_size
    except OSError as exc:
        raise BundleError(f"{where}: cannot be read ({exc.strerror or exc})") from exc
    largest = min(limits.file_bytes, MAX_BUNDLE_BYTES)
    if size > largest:
        raise BundleError(f"{where}: {size} bytes; a probe looks at files of at most {largest}")


def _environment() -> dict[str, str]:
    """This process's environment; OpenBLAS in the child starts no threads, each takes memory."""
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONFAULTHANDLER": ""}


def _kill(child: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
