"""The process that opens an untrusted model: `python -m edgeml.runtime.probechild TASK FD ORDER`.

It limits itself first, reads nothing but its order and the model, and writes
one JSON object to the file descriptor it was given: a report, or an error with
its class. Started by `probe`, never imported by it.
"""

import contextlib
import json
import os
import sys

from edgeml.errors import BackendError, EdgeMLError


def main(argv: list[str]) -> int:
    """Carry out one order; the exit status is 0 whenever a report was written.

    The tasks are imported after the limits are set, and what they import with them.
    """
    task, descriptor, order = argv[0], int(argv[1]), json.loads(argv[2])
    _limit(int(order["cpu_s"]), int(order["memory_mb"]))
    try:
        from edgeml.runtime.probetasks import TASKS

        report = TASKS[task](order)
    except EdgeMLError as exc:
        report = {"error": str(exc), "kind": type(exc).__name__}
    except MemoryError:
        message = f"{order['path']}: it needs more than {order['memory_mb']} MiB of memory"
        report = {"error": message, "kind": BackendError.__name__}
    with os.fdopen(descriptor, "w") as pipe:
        json.dump(report, pipe, allow_nan=False)
    return 0


def _limit(cpu_s: int, memory_mb: int) -> None:
    """Bound what this process may take, where the system can.

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
        resource.RLIMIT_FSIZE: 1 << 20,
    }
    for which, value in limits.items():
        _, hard = resource.getrlimit(which)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(which, (ceiling, ceiling))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
