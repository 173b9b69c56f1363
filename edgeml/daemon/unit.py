"""Writes the systemd unit of a device: least rights, its own state folder, a watchdog."""

import contextlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Final

STATES: Final = Path("/var/lib/edgeml")
"""Where systemd makes a folder for each service's state, by the device's name."""
WATCHDOG_S: Final = 60
STOP_S: Final = 10

_PLAIN: Final = re.compile(r"[\w@+=:,./-]+")
"""A word that no shell or systemd would take for anything else."""

_UNIT: Final = Template("""\
[Unit]
Description=edgeml device $name
Documentation=man:systemd.service(5)
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
ExecStart=$command run $quiet$config
ExecReload=/bin/kill -HUP $$MAINPID
Restart=always
RestartSec=5
WatchdogSec=$watchdog_s
TimeoutStopSec=$stop_s
KillSignal=SIGTERM

DynamicUser=yes
StateDirectory=edgeml/$name
${groups}${credentials}
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectKernelTunables=$tunables
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectProc=invisible
PrivateTmp=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
CapabilityBoundingSet=
UMask=0077

[Install]
WantedBy=multi-user.target
""")


def unit_text(
    name: str,
    command: str,
    config: Path,
    groups: tuple[str, ...],
    credentials: Mapping[str, str] = MappingProxyType({}),
    quiet: bool = False,
    sysfs: bool = False,
) -> str:
    """The unit's text.

    Args:
        name: the device's id.
        command: the `edgeml` to run, as an absolute path.
        config: the configuration file, absolute.
        groups: more groups that the service needs for its sensor.
        credentials: name to file, of secrets that only root can read.
        quiet: whether the journal, which wears a card, goes without the results.
        sysfs: whether a driver sets its sensor up by files of /sys, where the udev rule lets it.
    """
    return _UNIT.substitute(
        name=name,
        command=_quoted(command),
        config=_quoted(str(config)),
        quiet="--quiet " if quiet else "",
        tunables="no" if sysfs else "yes",  # yes is: all of /sys is read-only
        watchdog_s=WATCHDOG_S,
        stop_s=STOP_S,
        groups=f"SupplementaryGroups={' '.join(groups)}\n" if groups else "",
        credentials="".join(
            f"LoadCredential={key}:{_to_the_end(path)}\n" for key, path in credentials.items()
        ),
    )


def closed_part(path: Path) -> Path | None:
    """The first folder of a path, or the file, that is not for every user; None where all are.

    A home is often for its owner alone, and a service's user owns nothing.
    """
    for part in (*reversed(path.parents), path):
        with contextlib.suppress(OSError):  # what is not there yet is none of this
            if not part.stat().st_mode & (stat.S_IXOTH if part.is_dir() else stat.S_IROTH):
                return part
    return None


def _quoted(word: str) -> str:
    """A word as systemd's command lines want it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return word if _PLAIN.fullmatch(word) else f'"{escaped}"'


def _to_the_end(path: str) -> str:
    """A path as the rest of a line, where systemd takes quotes for a part of it."""
    return os.path.normpath(path).replace("%", "%%")
