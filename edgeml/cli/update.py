"""A device's updates: look, take, undo, hold. Works beside a running device, and without one.

edgeml update status CONFIG.toml                what serves, and how far the next one is
edgeml update check CONFIG.toml                 ask at once what is offered
edgeml update apply CONFIG.toml [RELEASE]       take what is offered now, whatever the policy
edgeml update rollback CONFIG.toml              go back, and never take that release again
edgeml update pin CONFIG.toml [RELEASE]         stay with what serves, or take RELEASE only
edgeml update unpin CONFIG.toml                 take what comes

A device that runs does it itself, between two looks of its own; this command asks it and
waits for the answer. Without one the command does it, and the next start serves the model.
"""

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeml.cli.output import format_table, print_json
from edgeml.daemon.unit import STATES
from edgeml.errors import ConfigError, UpdateError, retold

if TYPE_CHECKING:
    from edgeml.daemon.config import DaemonConfig
    from edgeml.ota.mailbox import Request
    from edgeml.ota.settings import Updates

_HELP: Final = {
    "status": "what serves, and how far the next one is",
    "check": "ask at once what is offered",
    "apply": "take what is offered now, whatever policy and hours say",
    "rollback": "go back to the model before, and never take this release again",
    "pin": "stay with what serves, or take one release only",
    "unpin": "take what comes",
}
_SHOWN: Final = (
    "model", "serves", "state", "release", "here", "back to", "pinned", "refused", "why",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's commands."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in _HELP.items():
        made = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        made.add_argument("config", type=Path, metavar="CONFIG.toml", help="the device's file")
        if name in ("apply", "pin"):
            made.add_argument("release", nargs="?", metavar="RELEASE", help="such as activity-2")
        made.add_argument("--json", action="store_true", help="print one JSON object")
        if name != "status":
            made.add_argument("--model", metavar="NAME", help="which of several models")
            made.add_argument(
                "--timeout", type=float, default=600.0, metavar="S",
                help="how long a running device may take to answer (600)",
            )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Carry the command out."""
    from edgeml.daemon.config import read_config
    from edgeml.ota.lock import is_held
    from edgeml.ota.mailbox import Mailbox, Request
    from edgeml.ota.report import stored_standings

    config = read_config(args.config)
    updates = config.updates
    if updates is None:
        raise ConfigError(f"{args.config}: has no section [updates]; this device takes none")
    folder = _folder(config.device_id, updates)
    if args.command == "status":
        found = stored_standings(folder, updates.group)
        if args.json:
            print_json({"device": config.device_id, "models": dict(found)})
        else:
            print(format_table(_SHOWN, [_row(name, one) for name, one in found.items()]))
            if not found:
                print(f"\nnothing in {folder}: this device has not run with [updates] yet")
        return 0
    request = Request(args.command, getattr(args, "release", None), args.model)
    if is_held(folder):
        answer = Mailbox(folder).ask(request, args.timeout)
    else:
        answer = _here(config, updates, folder, request)
    if "error" in answer:
        raise retold(answer, UpdateError)  # so that the exit status is the device's
    if args.json:
        print_json(answer)
    else:
        _show(args.command, answer)
    return 0


def _row(name: str, standing: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a person wants to know of a model's updates, in the order of `_SHOWN`."""
    state, release = standing["state"], standing["release"] or "factory"
    serves = release if state == "probation" else standing["installed"] or "factory"
    share = standing["fraction"]
    return (
        name,
        serves,
        state,
        release if release != serves else None,
        None if share is None else f"{share:.0%}",
        None if serves == "factory" else standing["previous"] or "factory",
        "this" if standing["pinned"] == "" else standing["pinned"],
        ", ".join(standing["bad"]) or None,
        standing["reason"],
    )


def _folder(device_id: str, updates: "Updates") -> Path:
    """Where the device keeps its updates; a service's, where systemd made a folder for one."""
    from edgeml.updating import state_folder

    own = state_folder(device_id, updates)
    service = STATES / device_id
    if updates.state or "EDGEML_STATE_DIR" in os.environ or not os.path.lexists(service):
        return own
    if not os.access(service, os.W_OK):
        raise UpdateError(f"{service}: the service's updates are here; ask with sudo")
    return service / own.name


def _handed_over(folder: Path) -> None:
    """What root made in a service's folder is the service's."""
    owner = folder.parent.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _here(
    config: "DaemonConfig", updates: "Updates", folder: Path, request: "Request"
) -> Mapping[str, Any]:
    """What comes of a request where no device runs."""
    from edgeml.clock import SystemClock
    from edgeml.daemon.models import files
    from edgeml.updating import Updating, open_shelf

    clock = SystemClock()
    # No window comes by here that a candidate could see beside the incumbent.
    settings = replace(updates, shadow_windows=0, shadow_agreement=0.0)
    shelf = open_shelf(config.device_id, config.mqtt, clock)
    updating = Updating(config.device_id, settings, folder, clock, shelf)
    try:
        for path in files(config.models):
            updating.add(path)
        updating.prepare()
        return updating.do(request)
    finally:
        updating.close()
        _handed_over(folder)


def _show(command: str, answer: Mapping[str, Any]) -> None:
    standing = answer["update"]
    if command == "check":
        why = f" ({answer['why']})" if answer["why"] else ""
        print(
            f"{answer['model']}: {answer['offered'] or 'nothing'} is offered: {answer['may']}{why}"
        )
    pinned = "" if standing["pinned"] is None else f", pinned to {standing['pinned'] or 'this'}"
    print(
        f"{answer['model']}: {standing['installed'] or 'the factory model'} is installed; "
        f"{standing['state']} {standing['release'] or ''}".rstrip()
        + pinned
    )
