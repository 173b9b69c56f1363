"""What each command of `edgeml repo` does, and what it says of it; the verb reads and prints."""

import re
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, Protocol

from edgeml.clock import SystemClock
from edgeml.errors import ConfigError, UpdateError
from edgeml.fleet.commands import hours, seconds, until_told_to_stop
from edgeml.fleet.repo.contents import summary
from edgeml.fleet.repo.ledger import Ledger
from edgeml.fleet.repo.publish import Outgoing, Record, Sent, clear_folder, collect, to_folder
from edgeml.fleet.repo.repository import Repository, RoleKeys
from edgeml.fleet.repo.seed import Seeder
from edgeml.fleet.repo.signers import OFFLINE, ROLES, foreign_key
from edgeml.sync.connection import Connection


class Bar(Protocol):
    """Shows how much of something is done."""

    def update(self, done: int, note: str = "") -> None:
        """So much of it."""
        ...


class Terminal(Protocol):
    """Where a command says what it did: for a person, so it may be nowhere."""

    def say(self, text: str) -> None:
        """A line, or several."""
        ...

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table."""
        ...

    def bar(self, title: str, total: int) -> AbstractContextManager[Bar]:
        """A bar, for as long as it is entered."""
        ...

    def connect(self) -> Connection:
        """The broker that the options name.

        Raises:
            ConfigError: they cannot work.
        """
        ...


Command = Callable[[Namespace, Repository, Terminal], Mapping[str, Any]]
"""From the verb's options to the JSON object that says what came of it."""


def _init(args: Namespace, repository: Repository, terminal: Terminal) -> Mapping[str, Any]:
    lifetimes = {role: seconds(text) for role, text in _assigned(args.expires, "--expires")}
    numbers = dict(_assigned(args.role, "--role"))
    given = _signers(args.signer)
    plans = {role: _plan(numbers.get(role), given.get(role, ())) for role in {*numbers, *given}}
    repository.create(plans, lifetimes)
    root = repository.folder.metadata("1.root.json")
    terminal.say(
        f"{args.dir}: founded; devices begin with {root}\n"
        f"now take {repository.folder.keys}/root-*.pem and targets-*.pem off this machine, "
        "onto a medium\nthat stays offline; release, revoke and rotate then need --keys FOLDER"
    )
    return {"root": str(root), "keys": str(repository.folder.keys), "offline": list(OFFLINE)}


def _release(args: Namespace, repository: Repository, terminal: Terminal) -> Mapping[str, Any]:
    released = repository.release(args.bundles)
    rows = []
    for new in released:
        size = new.index.bundle_bytes
        for older, cost in new.download_bytes.items():
            rows.append((new.index.release, older or "nothing", cost, f"{cost / size:.1%}"))
    terminal.table(("release", "a device with", "downloads, bytes", "of the file"), rows)
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


def _rollout(args: Namespace, repository: Repository, terminal: Terminal) -> Mapping[str, Any]:
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
    terminal.say(f"{rule.release}: {rule.upto / 100:g} % of group {rule.group}; now publish it")
    return {"release": rule.release, "group": rule.group, "percent": rule.upto / 100}


def _halt(args: Namespace, repository: Repository, terminal: Terminal) -> Mapping[str, Any]:
    halted = repository.halt(args.what, args.group)
    for rule in halted:
        terminal.say(f"{rule.release}: halted in group {rule.group}; now publish it")
    return {"halted": [{"release": rule.release, "group": rule.group} for rule in halted]}


def _revoke(args: Namespace, repository: Repository, terminal: Terminal) -> Mapping[str, Any]:
    repository.revoke(args.release)
    terminal.say(f"{args.release}: revoked; now publish it")
    return {"revoked": args.release}


def _rotate(args: Namespace, repository: Repository, terminal: Terminal) -> Mapping[str, Any]:
    given = _signers(args.signer).get(args.role, ())
    plan = _plan(args.keep, given) if args.keep or given else None
    former = [str(path) for path in repository.rotate(args.role, plan)]
    terminal.say(f"{args.role}: new keys; now publish it")
    for path in former:
        terminal.say(f"of no use any more, destroy it: {path}")
    return {"role": args.role, "former_keys": former}


def _refresh(args: Namespace, repository: Repository, terminal: Terminal) -> Mapping[str, Any]:
    renewed = repository.refresh(everything=args.all)
    terminal.say(f"renewed; {len(renewed)} rules with it")
    return {"rules": [{"release": rule.release, "group": rule.group} for rule in renewed]}


def _status(_: Namespace, repository: Repository, terminal: Terminal) -> Mapping[str, Any]:
    with repository.open() as ledger:
        document = summary(ledger, SystemClock().now_s())

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
    terminal.table(("role", "version", "keys", "expires"), roles)
    terminal.say("")
    terminal.table(("release", "bytes", "chunks"), releases)
    terminal.say("")
    terminal.table(("group", "release", "percent", "expires"), rules)
    if document["revoked"]:
        terminal.say(f"\nrevoked: {', '.join(document['revoked'])}")
    return document


def _publish(args: Namespace, repository: Repository, terminal: Terminal) -> Mapping[str, Any]:
    folder = args.http or args.file
    if (folder is None) == (args.broker is None):
        raise ConfigError("publish where to? give one of --broker URL, --http DIR, --file DIR")
    if folder is None:
        return _publish_mqtt(args, repository, terminal)
    if args.stay:
        raise ConfigError("--stay answers devices over MQTT; it needs --broker")
    with repository.open() as ledger:
        sent = to_folder(_outgoing(ledger), folder)
    terminal.say(f"{folder}: {_told(sent)}")
    return {"files": sent.files, "bytes": sent.bytes, "known": sent.known}


def _publish_mqtt(args: Namespace, repository: Repository, terminal: Terminal) -> Mapping[str, Any]:
    record = Record.of(repository.folder, args.broker, args.fleet)
    seeder = Seeder(terminal.connect(), args.fleet)
    answered = 0
    try:
        with repository.open() as ledger:
            outgoing = _outgoing(ledger)
            with terminal.bar("publish", len(outgoing.digests)) as bar:
                sent = seeder.publish(outgoing, record, anew=args.anew, progress=bar.update)
        terminal.say(f"{args.broker}: {_told(sent)}")
        if args.stay:
            stop = until_told_to_stop(seeder.wake)
            answered = seeder.serve(lambda: _outgoing(Ledger.read(repository.folder)), stop)
    finally:
        seeder.close()
    return {
        "files": sent.files, "bytes": sent.bytes, "known": sent.known, "answered": answered,
    }  # fmt: skip


def _gc(args: Namespace, repository: Repository, terminal: Terminal) -> Mapping[str, Any]:
    retired = [] if args.keep is None else repository.retire(args.keep)
    cleared = 0
    with repository.open() as ledger:
        deleted = collect(ledger)
        folder = args.http or args.file
        if folder is not None:
            cleared = clear_folder(_outgoing(ledger), folder)
        if args.broker is not None:
            seeder = Seeder(terminal.connect(), args.fleet)
            try:
                record = Record.of(repository.folder, args.broker, args.fleet)
                cleared += seeder.clear(_outgoing(ledger), record)
            finally:
                seeder.close()
    gone = f"; {', '.join(retired)} forgotten" if retired else ""
    terminal.say(f"{deleted} files deleted here, {cleared} where they were published{gone}")
    return {"deleted": deleted, "cleared": cleared, "retired": retired}


def _told(sent: Sent) -> str:
    return f"{sent.files} files, {sent.bytes} bytes; {sent.known} were there"


def _outgoing(ledger: Ledger) -> Outgoing:
    return Outgoing(ledger, SystemClock().now_s())


def _assigned(texts: list[str], option: str) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        role, equals, value = text.partition("=")
        if role not in ROLES or not equals:
            raise ConfigError(f"{option} {text!r}: expected ROLE=…, a role of {', '.join(ROLES)}")
        pairs.append((role, value))
    return pairs


def _signers(texts: list[str]) -> dict[str, list[tuple[str, Any]]]:
    found: dict[str, list[tuple[str, Any]]] = {}
    for role, value in _assigned(texts, "--signer"):
        uri, comma, public = value.rpartition(",")
        if not comma:
            raise ConfigError(f"--signer {role}={value}: expected ROLE=URI,PUBLIC.pem")
        found.setdefault(role, []).append(foreign_key(uri, Path(public)))
    return found


def _plan(numbers: str | None, given: Any) -> RoleKeys:
    if numbers is None:
        return RoleKeys(1, len(given), tuple(given))
    found = re.fullmatch(r"(\d{1,2})/(\d{1,2})", numbers)
    if found is None:
        raise ConfigError(f"{numbers!r}: expected THRESHOLD/KEYS, as in 2/3")
    if given and len(given) != int(found[2]):
        raise UpdateError(f"{numbers} wants {found[2]} keys, but {len(given)} signers are given")
    return RoleKeys(int(found[1]), int(found[2]), tuple(given))


COMMANDS: Final[Mapping[str, Command]] = {
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
