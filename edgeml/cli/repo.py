"""The publisher's end of updates: keys, signed releases, staged rollouts. See docs/updates.md.

edgeml repo init DIR                                    found a repository
edgeml repo release DIR BUNDLE…                         sign bundles as releases
edgeml repo rollout DIR RELEASE --percent 10            let 10 % of a group have a release
edgeml repo halt DIR [RELEASE]                          let nobody further have it
edgeml repo revoke DIR RELEASE                          take it back, also where it runs
edgeml repo rotate DIR ROLE                             new keys for a role
edgeml repo refresh DIR                                 renew what expires; for cron
edgeml repo publish DIR --broker URL | --http DIR | --file DIR
edgeml repo status DIR                                  releases, rules, roles, expiries
edgeml repo gc DIR                                      delete what no live release needs
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeml.cli.output import Progress, format_table, print_json
from edgeml.fleet.connecting import add_broker_options, broker_connection

if TYPE_CHECKING:
    from edgeml.sync.connection import Connection

_ROLES: Final = ("root", "targets", "snapshot", "timestamp", "rollout")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's commands."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        made.add_argument("dir", type=Path, metavar="DIR", help="the repository's folder")
        made.add_argument("--json", action="store_true", help="print one JSON object")
        made.add_argument(
            "--keys", type=Path, action="append", metavar="FOLDER",
            help="where key files lie that are kept apart; may be given several times",
        )  # fmt: skip
        return made

    init = command("init", "found a repository: keys, and a first version of everything")
    init.add_argument(
        "--role", action="append", default=[], metavar="ROLE=THRESHOLD/KEYS",
        help="how many keys a role has, and how many of them must sign: root=2/3",
    )  # fmt: skip
    _add_signers(init)
    init.add_argument(
        "--expires", action="append", default=[], metavar="ROLE=TIME",
        help="how long what a role signs is valid: timestamp=1d",
    )  # fmt: skip
    release = command("release", "sign bundles as releases")
    release.add_argument(
        "bundles", type=Path, nargs="+", metavar="BUNDLE", help="what `edgeml convert` wrote"
    )
    _configure_rollout(command("rollout", "let a part of a group have a release"))
    halt = command("halt", "let nobody further have what is rolled out")
    halt.add_argument("what", nargs="?", metavar="RELEASE", help="a release or a model (all)")
    halt.add_argument("--group", help="in this group only")
    revoke = command("revoke", "take a release back: devices that run it go back, too")
    revoke.add_argument("release", metavar="RELEASE", help="NAME-VERSION, such as activity-2")
    rotate = command("rotate", "give a role new keys")
    rotate.add_argument(
        "role", choices=_ROLES, help="whose keys; docs/updates.md says who signs what"
    )
    rotate.add_argument("--keep", metavar="THRESHOLD/KEYS", help="other numbers than it has: 2/3")
    _add_signers(rotate)
    refresh = command("refresh", "renew what the online roles say, and the rules; for cron")
    refresh.add_argument("--all", action="store_true", help="what root and targets say, too")
    publish = command("publish", "send what devices fetch: to a broker, a web root or a stick")
    _add_places(publish)
    publish.add_argument("--anew", action="store_true", help="also what the broker has already")
    publish.add_argument(
        "--stay", action="store_true", help="go on, and answer devices that miss something"
    )
    command("status", "releases, rules, roles and when they expire")
    gc = command("gc", "delete what no live release needs")
    gc.add_argument(
        "--keep", type=int, metavar="N", help="first forget all but N releases of each model"
    )
    _add_places(gc, required=False)


def run(args: argparse.Namespace) -> int:
    """Run one command."""
    from edgeml.fleet.repo.commands import COMMANDS
    from edgeml.fleet.repo.repository import Repository

    repository = Repository(args.dir, keys=args.keys)
    document = COMMANDS[args.command](args, repository, _Terminal(args))
    if args.json:
        print_json(document)
    return 0


class _Terminal:
    """This one; with --json nothing is said on it but the object in the end."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args

    def say(self, text: str) -> None:
        if not self._args.json:
            print(text, flush=True)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.say(format_table(header, rows))

    def bar(self, title: str, total: int) -> Progress:
        return Progress(title, total, quiet=self._args.json)

    def connect(self) -> "Connection":
        return broker_connection(self._args)


def _configure_rollout(rollout: argparse.ArgumentParser) -> None:
    rollout.add_argument("release", metavar="RELEASE", help="NAME-VERSION, such as activity-2")
    rollout.add_argument("--group", default="default", help="whose devices (%(default)s)")
    rollout.add_argument("--percent", type=float, required=True, metavar="P", help="0 to 100")
    rollout.add_argument(
        "--spread", default="0s", metavar="TIME", help="spread the downloads over so long: 1h"
    )
    rollout.add_argument(
        "--hours", metavar="HH-HH", help="install only then, by the device's own time: 02-05"
    )
    rollout.add_argument(
        "--expires", default="24h", metavar="TIME",
        help="void after so long, unless `refresh` renews it (%(default)s)",
    )  # fmt: skip
    rollout.add_argument(
        "--once", action="store_true", help="`refresh` does not renew it: it ends by itself"
    )


def _add_signers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--signer", action="append", default=[], metavar="ROLE=URI,PUBLIC.pem",
        help="a key kept elsewhere: root=awskms:alias/root,root.pem; may be given often",
    )  # fmt: skip


def _add_places(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    add_broker_options(parser, required=False)
    parser.add_argument("--fleet", default="default", help="whose topics (%(default)s)")
    place = parser.add_mutually_exclusive_group(required=False)
    place.add_argument("--http", type=Path, metavar="DIR", help="a web server's folder")
    place.add_argument("--file", type=Path, metavar="DIR", help="a folder, such as a USB stick")
    parser.set_defaults(place_required=required)
