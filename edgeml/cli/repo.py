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
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeml.cli.connect import add_broker_options, broker_connection
from edgeml.cli.output import Progress, format_table, print_json
from edgeml.cli.units import hours, seconds
from edgeml.errors import ConfigError, UpdateError

if TYPE_CHECKING:
    from edgeml.fleet.repo.publish import Outgoing
    from edgeml.fleet.repo.repository import Repository, RoleKeys

_ROLES: Final = ("root", "targets", "snapshot", "timestamp", "rollout")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's commands."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
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
    release.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    _configure_rollout(command("rollout", "let a part of a group have a release"))
    halt = command("halt", "let nobody further have what is rolled out")
    halt.add_argument("what", nargs="?", metavar="RELEASE", help="a release or a model (all)")
    halt.add_argument("--group", help="in this group only")
    revoke = command("revoke", "take a release back: devices that run it go back, too")
    revoke.add_argument("release", metavar="RELEASE")
    rotate = command("rotate", "give a role new keys")
    rotate.add_argument("role", choices=_ROLES)
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
    from edgeml.fleet.repo.repository import Repository

    repository = Repository(args.dir, keys=args.keys)
    commands: dict[str, Callable[[argparse.Namespace, Repository], Mapping[str, Any]]] = {
        "init": _init,
        "release": _release,
        "rollout": _rollout,
        "halt": _halt,
        "revoke": _revoke,
        "rotate": _rotate,
        "refresh": _refresh,
        "publish": _publish,
        "status": _status,
        "gc": _gc,
    }
    document = commands[args.command](args, repository)
    if args.json:
        print_json(document)
    return 0


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


def _init(args: argparse.Namespace, repository: "Repository") -> Mapping[str, Any]:
    from edgeml.fleet.repo.signers import OFFLINE

    lifetimes = {role: seconds(text) for role, text in _assigned(args.expires, "--expires")}
    numbers = dict(_assigned(args.role, "--role"))
    given = _signers(args.signer)
    plans = {role: _plan(numbers.get(role), given.get(role, ())) for role in {*numbers, *given}}
    repository.create(plans, lifetimes)
    root = repository.folder.metadata("1.root.json")
    if not args.json:
        print(f"{args.dir}: founded; devices begin with {root}")
        print(
            f"now take {repository.folder.keys}/root-*.pem and targets-*.pem off this machine, "
            "onto a medium\nthat stays offline; release, revoke and rotate then need --keys FOLDER"
        )
    return {"root": str(root), "keys": str(repository.folder.keys), "offline": list(OFFLINE)}


def _release(args: argparse.Namespace, repository: "Repository") -> Mapping[str, Any]:
    released = repository.release(args.bundles)
    rows = []
    for new in released:
        size = new.index.bundle_bytes
        for older, cost in new.download_bytes.items():
            rows.append((new.index.release, older or "nothing", cost, f"{cost / size:.1%}"))
    if not args.json:
        print(format_table(("release", "a device with", "downloads, bytes", "of the file"), rows))
    return {
        "releases": [
            {
                "release": new.index.release,
                "bytes": new.index.bundle_bytes,
                "chunks": len(new.index.chunks),
                "sha256": new.index.bundle_digest,
                "download_bytes": {older or "": n for older, n in new.download_bytes.items()},
            }
            for new in released
        ]
    }


def _rollout(args: argparse.Namespace, repository: "Repository") -> Mapping[str, Any]:
    if not 0 <= args.percent <= 100:
        raise ConfigError(f"--percent is {args.percent:g}; it should be 0 to 100")
    rule = repository.rollout(
        args.release,
        round(args.percent * 100),
        group=args.group,
        spread_s=seconds(args.spread),
        hours=None if args.hours is None else hours(args.hours),
        expires_s=seconds(args.expires),
        renew=not args.once,
    )
    if not args.json:
        print(f"{rule.release}: {rule.upto / 100:g} % of group {rule.group}; now publish it")
    return {"release": rule.release, "group": rule.group, "percent": rule.upto / 100}


def _halt(args: argparse.Namespace, repository: "Repository") -> Mapping[str, Any]:
    halted = repository.halt(args.what, args.group)
    if not args.json:
        for rule in halted:
            print(f"{rule.release}: halted in group {rule.group}; now publish it")
    return {"halted": [{"release": rule.release, "group": rule.group} for rule in halted]}


def _revoke(args: argparse.Namespace, repository: "Repository") -> Mapping[str, Any]:
    repository.revoke(args.release)
    if not args.json:
        print(f"{args.release}: revoked; now publish it")
    return {"revoked": args.release}


def _rotate(args: argparse.Namespace, repository: "Repository") -> Mapping[str, Any]:
    given = _signers(args.signer).get(args.role, ())
    plan = _plan(args.keep, given) if args.keep or given else None
    former = [str(path) for path in repository.rotate(args.role, plan)]
    if not args.json:
        print(f"{args.role}: new keys; now publish it")
        for path in former:
            print(f"of no use any more, destroy it: {path}")
    return {"role": args.role, "former_keys": former}


def _refresh(args: argparse.Namespace, repository: "Repository") -> Mapping[str, Any]:
    renewed = repository.refresh(everything=args.all)
    if not args.json:
        print(f"renewed; {len(renewed)} rules with it")
    return {"rules": [{"release": rule.release, "group": rule.group} for rule in renewed]}


def _status(args: argparse.Namespace, repository: "Repository") -> Mapping[str, Any]:
    from datetime import datetime, timezone

    from edgeml.clock import SystemClock
    from edgeml.fleet.repo.contents import summary

    with repository.open() as ledger:
        document = summary(ledger, SystemClock().now_s())
    if args.json:
        return document

    def day(at_s: float) -> str:
        return datetime.fromtimestamp(at_s, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")

    roles = [
        (role, of["version"], f"{of['threshold']}/{len(of['keys'])}",
         ("EXPIRED " if of["expired"] else "") + day(of["expires_s"]))
        for role, of in document["roles"].items()
    ]  # fmt: skip
    releases = [(r["release"], r["bytes"], r["chunks"]) for r in document["releases"]]
    rules = [
        (r["group"], r["release"], r["percent"],
         ("EXPIRED " if r["expired"] else "") + day(r["expires_s"]))
        for r in document["rules"]
    ]  # fmt: skip
    print(format_table(("role", "version", "keys", "expires"), roles), end="\n\n")
    print(format_table(("release", "bytes", "chunks"), releases), end="\n\n")
    print(format_table(("group", "release", "percent", "expires"), rules))
    if document["revoked"]:
        print(f"\nrevoked: {', '.join(document['revoked'])}")
    return document


def _publish(args: argparse.Namespace, repository: "Repository") -> Mapping[str, Any]:
    from edgeml.fleet.repo.publish import to_folder

    folder = args.http or args.file
    if (folder is None) == (args.broker is None):
        raise ConfigError("publish where to? give one of --broker URL, --http DIR, --file DIR")
    if folder is None:
        return _publish_mqtt(args, repository)
    if args.stay:
        raise ConfigError("--stay answers devices over MQTT; it needs --broker")
    with repository.open() as ledger:
        sent = to_folder(_outgoing(ledger), folder)
    if not args.json:
        print(f"{folder}: {sent.files} files, {sent.bytes} bytes; {sent.known} were there")
    return {"files": sent.files, "bytes": sent.bytes, "known": sent.known}


def _publish_mqtt(args: argparse.Namespace, repository: "Repository") -> Mapping[str, Any]:
    import signal
    import threading

    from edgeml.fleet.repo.ledger import Ledger
    from edgeml.fleet.repo.publish import Record
    from edgeml.fleet.repo.seed import Seeder

    record = Record.of(repository.folder, args.broker, args.fleet)
    seeder = Seeder(broker_connection(args), args.fleet)
    answered = 0
    try:
        with repository.open() as ledger:
            outgoing = _outgoing(ledger)
            with Progress("publish", len(outgoing.digests), quiet=args.json) as bar:
                sent = seeder.publish(outgoing, record, anew=args.anew, progress=bar.update)
        if not args.json:
            print(f"{args.broker}: {sent.files} files, {sent.bytes} bytes; {sent.known} were there")
        if args.stay:
            stop = threading.Event()

            def end(*_: object) -> None:
                stop.set()
                seeder.wake()

            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, end)
            answered = seeder.serve(lambda: _outgoing(Ledger.read(repository.folder)), stop)
    finally:
        seeder.close()
    return {
        "files": sent.files, "bytes": sent.bytes, "known": sent.known, "answered": answered,
    }  # fmt: skip


def _gc(args: argparse.Namespace, repository: "Repository") -> Mapping[str, Any]:
    from edgeml.fleet.repo.publish import Record, clear_folder, collect
    from edgeml.fleet.repo.seed import Seeder

    retired = [] if args.keep is None else repository.retire(args.keep)
    cleared = 0
    with repository.open() as ledger:
        deleted = collect(ledger)
        folder = args.http or args.file
        if folder is not None:
            cleared = clear_folder(_outgoing(ledger), folder)
        if args.broker is not None:
            seeder = Seeder(broker_connection(args), args.fleet)
            try:
                record = Record.of(repository.folder, args.broker, args.fleet)
                cleared += seeder.clear(_outgoing(ledger), record)
            finally:
                seeder.close()
    if not args.json:
        gone = f"; {', '.join(retired)} forgotten" if retired else ""
        print(f"{deleted} files deleted here, {cleared} where they were published{gone}")
    return {"deleted": deleted, "cleared": cleared, "retired": retired}


def _outgoing(ledger: Any) -> "Outgoing":
    from edgeml.clock import SystemClock
    from edgeml.fleet.repo.publish import Outgoing

    return Outgoing(ledger, SystemClock().now_s())


def _assigned(texts: list[str], option: str) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        role, equals, value = text.partition("=")
        if role not in _ROLES or not equals:
            raise ConfigError(f"{option} {text!r}: expected ROLE=…, a role of {', '.join(_ROLES)}")
        pairs.append((role, value))
    return pairs


def _signers(texts: list[str]) -> dict[str, list[tuple[str, Any]]]:
    from edgeml.fleet.repo.signers import foreign_key

    found: dict[str, list[tuple[str, Any]]] = {}
    for role, value in _assigned(texts, "--signer"):
        uri, comma, public = value.rpartition(",")
        if not comma:
            raise ConfigError(f"--signer {role}={value}: expected ROLE=URI,PUBLIC.pem")
        found.setdefault(role, []).append(foreign_key(uri, Path(public)))
    return found


def _plan(numbers: str | None, given: Any) -> "RoleKeys":
    from edgeml.fleet.repo.repository import RoleKeys

    if numbers is None:
        return RoleKeys(1, len(given), tuple(given))
    found = re.fullmatch(r"(\d{1,2})/(\d{1,2})", numbers)
    if found is None:
        raise ConfigError(f"{numbers!r}: expected THRESHOLD/KEYS, as in 2/3")
    if given and len(given) != int(found[2]):
        raise UpdateError(f"{numbers} wants {found[2]} keys, but {len(given)} signers are given")
    return RoleKeys(int(found[1]), int(found[2]), tuple(given))
