"""What this process takes of the machine, as the kernel counts it, and what it may take."""

import contextlib
import os
import re
import signal
import sys
from pathlib import Path
from typing import Final

_ELSEWHERE: Final = "import sys; sys.path = [p for p in sys.path if p]; "
_RUN: Final = "import runpy; runpy.run_module({!r}, run_name='__main__', alter_sys=True)"
_STATUS: Final = Path("/proc/self/status")
_PR_SET_PDEATHSIG: Final = 1


def module_command(name: str) -> list[str]:
    """The command of a module, that takes nothing from the folder it is called in.

    `python -m` looks there first, and beside a file that nobody trusts there may be a `json.py`.
    """
    return python_command(_RUN.format(name))


def python_command(code: str) -> list[str]:
    """The command of some code, as `module_command`; its arguments are `sys.argv[1:]`."""
    return [sys.executable, "-c", _ELSEWHERE + code]


def peak_rss_mb() -> float | None:
    """The most resident memory so far, in MiB; None where the system does not say.

    On Linux VmHWM, which starts anew with a program; `ru_maxrss` there starts
    from what the parent had.
    """
    if (peak := _from_status("VmHWM")) is not None:
        return peak
    try:
        import resource
    except ImportError:
        return None
    peak_units = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_units / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def rss_mb() -> float | None:
    """Resident memory now, in MiB; None where the system does not say."""
    return _from_status("VmRSS")


def limit_process(cpu_s: int, memory_mb: int, file_bytes: int) -> None:
    """Bound what this process may take, where the system can: it handles what nobody trusts.

    RLIMIT_DATA counts what a process may write to; RLIMIT_AS would count the
    interpreter's own libraries too.
    """
    try:
        import resource
    except ImportError:
        return
    limits = {
        resource.RLIMIT_DATA: memory_mb << 20,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: file_bytes,
    }
    for which, value in limits.items():
        _, hard = resource.getrlimit(which)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(which, (ceiling, ceiling))


def end_with(parent: int) -> None:
    """Let the kernel kill this process once whoever started it is gone, however that ended.

    A device that is killed starts anew at once, and what it had asked for must not go on
    writing beside it. Linux alone can do so; elsewhere this does nothing.

    Args:
        parent: its process id; the thread of it that started this one is what counts.
    """
    if sys.platform != "linux":
        return
    import ctypes  # 6 ms, in a process of its own

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:  # it was gone before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)


def _from_status(key: str) -> float | None:
    try:
        text = _STATUS.read_text()
    except OSError:
        return None
    match = re.search(rf"^{key}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(match[1]) / 1024 if match else None
