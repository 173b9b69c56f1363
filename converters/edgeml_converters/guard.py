"""Runs a conversion in a process of its own, with limits on memory and time.

A model file is a program for TensorFlow and HDF5, which trust it: a damaged one
can end the process or fill the memory. Then only the worker is lost, nothing is
half written, and the caller gets an error like any other.
"""

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

from edgeml.errors import ConversionError, EdgeMLError

_NO_LIMIT: Final = 1 << 40


def run_guarded(options: Mapping[str, Any], limit_s: float) -> int:
    """Run `cli.work` with these options in a worker.

    Args:
        options: of the command line, as JSON can hold them.
        limit_s: how long it may take.

    Returns:
        Its exit status.

    Raises:
        ConversionError: the worker crashed, or took too long and was killed.
    """
    command = [sys.executable, "-m", "edgeml_converters.guard"]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
    verbose = logging.getLogger().isEnabledFor(logging.INFO)
    try:
        worker.communicate(json.dumps({**options, "verbose": verbose}), timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise ConversionError(
            f"the conversion took longer than {limit_s:g} s and was ended; nothing was written "
            "(--limit-s allows more)"
        ) from None
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
    if worker.returncode < 0:
        name = signal.Signals(-worker.returncode).name
        raise ConversionError(
            f"TensorFlow was ended by {name} while converting; nothing was written. The source is "
            "damaged, or needs more memory than this machine has"
        )
    return worker.returncode


def main() -> int:
    """The worker: options come as JSON on stdin."""
    from edgeml_converters.cli import work

    options = json.load(sys.stdin)
    level = logging.INFO if options.pop("verbose") else logging.WARNING
    logging.basicConfig(stream=sys.stderr, level=level)
    _limit_memory()
    try:
        return work(argparse.Namespace(**options))
    except EdgeMLError as exc:
        print(f"edgeml: {exc}", file=sys.stderr)
        return exc.exit_code
    except MemoryError:
        print("edgeml: the model needs more memory than this machine has", file=sys.stderr)
        return ConversionError.exit_code


def _limit_memory() -> None:
    """No more than the machine has: an allocation then fails, instead of the kernel ending us."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = physical if hard == resource.RLIM_INFINITY else min(physical, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (min(soft, _NO_LIMIT), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main())
