"""Takes an order and leaves a reply: JSON files in the folder that the worker runs in."""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1

Task = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class RefusedError(Exception):
    """The model cannot be converted; the message says why."""


def answer(tasks: Mapping[str, Task]) -> None:
    """Do the task that the command line names and write `reply.json`, whole or not at all."""
    _limit_memory()
    _end_with_parent()
    said: dict[str, Any] = {"error": "it was interrupted"}
    order = json.loads(Path("order.json").read_text("utf-8"))
    try:
        said = dict(tasks[sys.argv[1]](order))
    except MemoryError:
        said = {"error": "it needs more memory than this machine has"}
    except RefusedError as exc:
        said = {"error": str(exc)}
    except (Exception, SystemExit) as exc:
        said = {"error": f"{type(exc).__name__}: {first_line(exc)}"}
        traceback.print_exc()
        raise
    finally:
        _leave(said)


def _leave(said: Mapping[str, Any]) -> None:
    """Write the reply and end at once: threads of these packages would hold up an ordinary end."""
    Path("reply.part").write_text(json.dumps(dict(said)), "utf-8")
    Path("reply.part").rename("reply.json")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def first_line(exc: BaseException) -> str:
    """The first line that says something."""
    lines = (" ".join(line.split()) for line in str(exc).splitlines())
    return next((line[:300] for line in lines if line), "no message")


def fixed(shape: Any, what: str) -> list[int]:
    """A shape behind a batch axis of 1 or of open size.

    Args:
        shape: whole numbers; anything else is an open size.
        what: "input" or "output".

    Raises:
        RefusedError: another batch, or open sizes.
    """
    sizes = list(shape)
    known = [n if type(n) is int and n > 0 else None for n in sizes]
    shown = [n if n is not None else "?" for n in known]
    if not known or (known[0] is not None and known[0] != 1):
        raise RefusedError(
            f"its {what} has the shape {shown}; a device needs a batch axis of 1 in front: export "
            "it so"
        )
    rest = [n for n in known[1:] if n is not None]
    if len(rest) != len(known) - 1 or not rest:
        raise RefusedError(
            f"its {what} has the shape {shown}; a device needs fixed sizes behind the batch axis"
        )
    return rest


def _end_with_parent() -> None:
    """Let the kernel end this process with the one that started it, which sets its time limit."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))


def _limit_memory() -> None:
    """No more than the machine has: an allocation then fails, instead of the kernel ending us."""
    import resource

    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = physical if hard == resource.RLIM_INFINITY else min(physical, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
