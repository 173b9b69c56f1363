"""The process that opens an untrusted model: `python -m edgeml.runtime.probechild TASK FD ORDER`.

It limits itself first, reads nothing but its order and the model, and writes
one JSON object to the file descriptor it was given: a report, or an error with
its class. Started by `probe`, never imported by it.
"""

import json
import os
import sys

from edgeml.errors import BackendError, EdgeMLError, told
from edgeml.runtime.process import end_with, limit_process


def main(argv: list[str]) -> int:
    """Carry out one order; the exit status is 0 whenever a report was written.

    The tasks are imported after the limits are set, and what they import with them.
    """
    task, descriptor, order = argv[0], int(argv[1]), json.loads(argv[2])
    if "parent" in order:  # what counts instructions has a lab's processes in between
        end_with(int(order["parent"]))
    limit_process(int(order["cpu_s"]), int(order["memory_mb"]), file_bytes=1 << 20)
    try:
        from edgeml.runtime.probetasks import TASKS

        report = TASKS[task](order)
    except EdgeMLError as exc:
        report = told(exc)
    except MemoryError:
        message = f"{order['path']}: it needs more than {order['memory_mb']} MiB of memory"
        report = told(BackendError(message))
    with os.fdopen(descriptor, "w") as pipe:
        json.dump(report, pipe, allow_nan=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
