"""Looks at this machine, and decides nothing: all of the doctor's I/O is here."""

import grp
import os
import platform
import shutil
import struct
import subprocess
import sys
import sysconfig
import time
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeml.doctor.facts import Facts
from edgeml.errors import EdgeMLError
from edgeml.runtime.process import python_command

if TYPE_CHECKING:
    from edgeml.daemon.config import DaemonConfig
    from edgeml.sync.connection import Connection

INTERPRETERS: Final = ("ai-edge-litert", "tflite-runtime")
_MODULES: Final = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
_NEEDED: Final = ("paho-mqtt", "tuf", "securesystemslib")
_DEVICE_GROUPS: Final = {
    "i2c": "/dev/i2c-*",
    "spi": "/dev/spidev*",
    "gpio": "/dev/gpiochip*",
    "dialout": "/dev/tty[AU]*",
    "video": "/dev/video*",
    "audio": "/dev/snd/*",
}
_IMPORT_TIMEOUT_S: Final = 60.0
_TOOL_TIMEOUT_S: Final = 5.0
_SECOND_CHANCE_S: Final = 3.0
"""After a refusal: the next attempt may be the one in the older MQTT that the broker speaks."""


def gather(
    *, broker: str | None, state_folder: Path, config: "DaemonConfig | None" = None
) -> Facts:
    """Look at this machine."""
    updates, updates_error = None, ""
    models: dict[str, str] = {}
    if config is not None:
        from edgeml.doctor.updates import look, try_models  # only who asks needs a device's parts

        models = try_models(config)
        updates, updates_error = look(config)
    asked: str | Connection | None = broker
    if broker is None and config is not None:
        asked = config.mqtt
    interpreters = {name: found for name in INTERPRETERS if (found := _version(name))}
    numpy = _version("numpy")
    return Facts(
        python=tuple(sys.version_info[:3]),
        python_command=sys.executable or "python3",
        externally_managed=_externally_managed(),
        machine=platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        pointer_bits=struct.calcsize("P") * 8,
        board=_board(),
        interpreters=interpreters,
        interpreter_errors={name: error for name in interpreters if (error := _import_error(name))},
        numpy=None if numpy is None else tuple(int(part) for part in numpy.split(".")[:2]),
        missing_packages=tuple(name for name in _NEEDED if _version(name) is None),
        state_folder=str(state_folder),
        state_writable=_can_be_written(state_folder),
        free_mb=_free_mb(state_folder),
        year=datetime.now(timezone.utc).year,
        clock_synchronised=_clock_synchronised(),
        missing_groups=_missing_groups(),
        broker=getattr(asked, "url", broker),
        broker_error="" if asked is None else _broker_error(asked),
        models=models,
        updates=updates,
        updates_error=updates_error,
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _externally_managed() -> bool:
    in_virtual_environment = sys.prefix != sys.base_prefix
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    return not in_virtual_environment and marker.exists()


def _board() -> str:
    try:
        return Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\x00\n ")
    except (OSError, UnicodeDecodeError):
        return ""


def _import_error(name: str) -> str:
    """The last line of what importing it says; a subprocess, because a bad wheel can crash."""
    try:
        done = subprocess.run(
            python_command(f"import {_MODULES[name]}"),
            capture_output=True,
            text=True,
            timeout=_IMPORT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return str(exc)
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"the process ended with status {done.returncode}"


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there already."""
    return next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())


def _can_be_written(folder: Path) -> bool:
    existing = _existing(folder)
    return existing.is_dir() and os.access(existing, os.W_OK)


def _free_mb(folder: Path) -> int:
    return shutil.disk_usage(_existing(folder)).free // 1_000_000


def _clock_synchronised() -> bool | None:
    if shutil.which("timedatectl") is None:
        return None
    try:
        done = subprocess.run(
            ["timedatectl", "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=_TOOL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip())


def _missing_groups() -> dict[str, str]:
    if os.geteuid() == 0:
        return {}
    mine = {*os.getgroups(), os.getegid()}
    missing = {}
    for name, pattern in _DEVICE_GROUPS.items():
        try:
            group = grp.getgrnam(name).gr_gid
        except KeyError:
            continue
        folder, _, glob = pattern.rpartition("/")
        if group not in mine and next(Path(folder).glob(glob), None) is not None:
            missing[name] = pattern
    return missing


def _broker_error(asked: "str | Connection") -> str:
    """Why no session with the broker came about; empty where one did."""
    try:
        from edgeml.sync.connection import Connection
        from edgeml.sync.line import Down, Up
        from edgeml.sync.link import Link
    except ImportError as exc:
        return f"it cannot be tried: {exc}"

    try:
        connection = Connection(asked) if isinstance(asked, str) else asked
        connection = replace(connection, connect_timeout_s=_TOOL_TIMEOUT_S)
    except EdgeMLError as exc:
        return str(exc)
    link = Link(connection, client_id=f"edgeml-doctor-{os.getpid()}")
    link.open()
    give_up_s = time.monotonic() + 2 * _TOOL_TIMEOUT_S
    reason = "it does not answer"
    try:
        while time.monotonic() < give_up_s:
            for event in link.step(0.1):
                if isinstance(event, Up):
                    return ""
                if isinstance(event, Down):
                    reason = event.reason
                    give_up_s = min(give_up_s, time.monotonic() + _SECOND_CHANCE_S)
    finally:
        link.close()
    return reason
