"""How much memory this process has taken, in MiB, as the kernel counts it."""

import re
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_rss_mb() -> float | None:
    """The most resident memory so far; None where the system does not say.

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
    """Resident memory now; None where the system does not say."""
    return _from_status("VmRSS")


def _from_status(key: str) -> float | None:
    try:
        text = _STATUS.read_text()
    except OSError:
        return None
    match = re.search(rf"^{key}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(match[1]) / 1024 if match else None
