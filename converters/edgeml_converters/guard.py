"""Runs a conversion in a process of its own, with limits on memory and time.

A model file is a program for TensorFlow and HDF5, which trust it: a damaged one
can end the process or fill the memory. Then only the worker is lost, nothing is
half written, and the caller gets an error like any other. The worker ends with
the caller, however that ends, and what it had in temporary folders goes with it.
"""

import argparse
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

from edgeml.errors import ConfigError, ConversionError, EdgeMLError
from edgeml.runtime.process import end_with, module_command

_NO_LIMIT: Final = 1 << 40
_LONGEST_S: Final = 1e6
"""Eleven days; a system call cannot wait for much longer, and nobody does."""
_TERMINATED: Final = 128 + signal.SIGTERM


def run_guarded(options: Mapping[str, Any], limit_s: float) -> int:
    """Run `cli.work` with these options in a worker.

    Args:
        options: of the command line, as JSON can hold them.
        limit_s: how long it may take.

    Returns:
        Its exit status.

    Raises:
        ConfigError: the limit is no time.
        ConversionError: the worker crashed, or took too long and was killed.
    """
    if not limit_s > 0:
        raise ConfigError(f"--limit-s is {limit_s:g}; give seconds, more than 0")
    verbose = logging.getLogger().isEnabledFor(logging.INFO)
    order = json.dumps({**options, "verbose": verbose, "parent": os.getpid()})
    with tempfile.TemporaryDirectory(prefix="edgeml-worker-") as folder, _sigterm_raises():
        worker = subprocess.Popen(
            module_command("edgeml_converters.guard"),
            stdin=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": folder},
        )
        try:
            worker.communicate(order, timeout=min(limit_s, _LONGEST_S))
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


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Let SIGTERM end this process by an exception, so that what it started is cleared away."""

    def leave(*_: object) -> NoReturn:
        sys.exit(_TERMINATED)

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's alone
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main() -> int:
    """The worker: options come as JSON on stdin."""
    from edgeml_converters.cli import work

    options = json.load(sys.stdin)
    end_with(options.pop("parent"))
    # A terminal's Ctrl-C reaches both processes; what becomes of it is the caller's to say.
    signal.signal(signal.SIGINT, lambda *_: None)
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
