"""Runs a step of a conversion in an environment of its own, with limits.

The other side is `inside/edgeml_workers`, which sees only that environment.
Orders and replies are JSON and arrays are .npy files in a folder of the job's
own, so nothing is unpickled on either side. A file that crashes or stops the
worker costs the worker.
"""

import json
import logging
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edgeml.errors import ConversionError
from edgeml_converters.environments.build import Environment

LIMIT_S: Final = 600.0
_INSIDE: Final = Path(__file__).parent.parent / "inside"
_log = logging.getLogger(__name__)


def run_worker(
    environment: Environment,
    task: str,
    order: Mapping[str, Any],
    folder: Path,
    limit_s: float = LIMIT_S,
) -> dict[str, Any]:
    """Give a worker an order and take its reply.

    Args:
        environment: where it runs.
        task: "convert" or "predict".
        order: JSON values; paths are absolute.
        folder: the job's own, for whatever the worker writes.
        limit_s: after which it is killed.

    Raises:
        ConversionError: what the worker objects to, or how it ended.
    """
    where = str(order["source"])
    reply = folder / "reply.json"
    reply.unlink(missing_ok=True)
    (folder / "order.json").write_text(json.dumps(dict(order)), "utf-8")
    command = [str(environment.python), "-s", "-m", f"edgeml_workers.{environment.name}", task]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_variables(),
            start_new_session=True,
        )
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise ConversionError(
                f"{where}: the {environment.name} converter took longer than {limit_s:g} s and was "
                "ended"
            ) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    for line in (folder / "log.txt").read_text("utf-8", errors="replace").splitlines():
        _log.info("%s", line)
    return _understand(where, process.returncode, reply, folder / "log.txt")


def _variables() -> dict[str, str]:
    """No GPU, no chatter, no pickles; and the workers' own modules beside the environment's."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PYTHONPATH": str(_INSIDE),
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
        "JAX_PLATFORMS": "cpu",
        "HF_HUB_OFFLINE": "1",
    }


def _understand(where: str, status: int, reply: Path, log: Path) -> dict[str, Any]:
    try:
        said = dict(json.loads(reply.read_text("utf-8")))
    except (OSError, ValueError):
        lines = log.read_text("utf-8", errors="replace").strip().splitlines() or ["it said nothing"]
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        raise ConversionError(
            f"{where}: the converter ended with {how} ({lines[-1].strip()[:200]}); the file is "
            "damaged, or needs more memory than this machine has"
        ) from None
    if "error" in said:
        raise ConversionError(f"{where}: {said['error']}")
    return said
