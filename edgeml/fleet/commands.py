"""What each command of `edgeml fleet` does: from the verb's options to what came of it.

A command gives one JSON object, and the same in words.
"""

import logging
import re
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from edgeml.clock import SystemClock
from edgeml.errors import ConfigError
from edgeml.fleet.watching import Table, Tell, print_once, watch
from edgeml.sync.connection import Connection

Outcome = tuple[Mapping[str, Any], str]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def until_told_to_stop(wake: Callable[[], object] = lambda: None) -> threading.Event:
    """Is set by ^C and by whoever ends this process; `wake` is called then, too."""
    stop = threading.Event()

    def end(*_: object) -> None:
        stop.set()
        wake()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return stop


def status(args: Namespace, table: Table, tell: Tell) -> None:
    """Show every device, once or until told to stop, by `table`, or as JSON by `tell`."""
    from edgeml.fleet.stores import open_store

    if not args.interval_s > 0:
        raise ConfigError(f"--interval-s is {args.interval_s}; it should be above 0")
    store = open_store(args.store)
    try:
        if args.watch:
            watch(store, until_told_to_stop(), args.interval_s, table, tell if args.json else None)
        else:
            print_once(store, table, tell if args.json else None)
    finally:
        store.close()


def ingest(args: Namespace, connection: Connection) -> Outcome:
    """Store what devices send, until told to stop."""
    from edgeml.fleet.ingest import Ingest
    from edgeml.fleet.stores import open_store

    # Somebody who starts a server wants to see that it reached the broker.
    logging.getLogger("edgeml").setLevel(logging.INFO)
    ingests: list[Ingest] = []

    def wake() -> None:
        for one in ingests:
            one.wake()

    stop = until_told_to_stop(wake)
    store = open_store(args.store, create=True)
    made = Ingest(connection, args.fleet, store)
    ingests.append(made)
    try:
        made.run(stop)
    finally:
        store.close()
    tally = made.tally
    return asdict(tally), (
        f"{tally.rows} rows stored, {tally.duplicates} came twice, "
        f"{tally.dead_letters} messages could not be read"
    )


def export(args: Namespace) -> Outcome:
    """Write results, or the windows that devices sent home."""
    from edgeml.fleet.export import export as export_results
    from edgeml.fleet.stores import open_store

    if args.model is not None and not args.samples:
        raise ConfigError("--model goes with --samples; results name their model in a column")
    store = open_store(args.store)
    try:
        if args.samples:
            from edgeml.fleet.samplefile import export_samples

            samples = store.samples(args.device)
            wanted = (row for row in samples if args.model in (None, row["model"]))
            rows = export_samples(wanted, args.output)
        else:
            rows = export_results(store.results(args.device), args.output)
    finally:
        store.close()
    what = "samples" if args.samples else "results"
    return {"rows": rows, "output": str(args.output)}, f"{rows} {what} in {args.output}"


def mosquitto_acl(args: Namespace) -> Outcome:
    """Write a broker's configuration in which devices keep to themselves."""
    from edgeml.fleet.mosquitto import PASSWORDS, BrokerPlan, write_files

    plan = BrokerPlan(
        fleet=args.fleet,
        directory=args.output.absolute(),
        ca_file=args.ca_file.absolute(),
        cert_file=args.cert_file.absolute(),
        key_file=args.key_file.absolute(),
        port=args.port,
        client_certificates=args.client_certificates,
        ingest_user=args.ingest_user,
        publisher_user=args.publisher_user,
        data_directory=args.data_directory,
        devices=args.devices,
    )
    conf, acl = write_files(plan)
    passwords = None if plan.client_certificates else plan.directory / PASSWORDS
    document = {
        "configuration": str(conf),
        "acl": str(acl),
        "passwords": passwords and str(passwords),
    }
    if passwords is None:
        return document, f"{conf}\n{acl}"
    return document, (
        f"{conf}\n{acl}\nadd each device, its id as its name: mosquitto_passwd {passwords} DEVICE"
    )


def prune(args: Namespace) -> Outcome:
    """Delete what is old enough."""
    from edgeml.fleet.report import retention_limit
    from edgeml.fleet.stores import open_store

    if not args.older_than_days > 0:
        raise ConfigError(f"--older-than-days is {args.older_than_days}; it should be above 0")
    store = open_store(args.store)
    try:
        rows = store.prune(retention_limit(SystemClock().now_s(), args.older_than_days))
    finally:
        store.close()
    return {"deleted": rows}, f"{rows} results and events deleted"


def rollout(args: Namespace, connection: Connection) -> Outcome:
    """Lead a release through its stages; what it says on the way goes to stderr.

    Raises:
        ConfigError: an option cannot be read.
        UpdateError: there is no such release, it was halted before, or a newer one is rolled out.
    """
    from edgeml.fleet.conductor import Conductor
    from edgeml.fleet.repo.repository import Repository
    from edgeml.fleet.repo.ruling import RepositoryRuling
    from edgeml.fleet.report import printable
    from edgeml.fleet.staging import Policy

    expires_s = seconds(args.expires)
    ruling = RepositoryRuling(
        Repository(args.repo),
        args.release,
        args.group,
        connection,
        args.fleet,
        folder=args.http,
        spread_s=seconds(args.spread),
        hours=None if args.hours is None else hours(args.hours),
        expires_s=expires_s,
    )
    ruling.check()
    policy = Policy(
        _stages(args.stages), args.max_failure_rate, args.confidence, seconds(args.soak)
    )
    conductor = Conductor(
        args.release, ruling, policy, connection, args.fleet, expires_s=expires_s, tell=_tell
    )
    ending = conductor.run(until_told_to_stop(conductor.wake))
    failures = (
        f"\n  {device}: {printable(why)}" for device, why in sorted(ending.failures.items())
    )
    return asdict(ending), f"{args.release}: {ending.reason}{''.join(failures)}"


def _tell(upto: int, reason: str) -> None:
    print(f"{upto / 100:g} %: {reason}", file=sys.stderr, flush=True)


def _stages(text: str) -> tuple[int, ...]:
    try:
        return tuple(round(float(part) * 100) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--stages is {text!r}; expected percents, as in 1,10,50,100") from None


def seconds(text: str) -> int:
    """`90s`, `30m`, `24h` or `7d` in seconds.

    Raises:
        ConfigError: it is none of these.
    """
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise ConfigError(f"{text!r} is no time; expected a number and s, m, h or d, as in 24h")
    return int(found[1]) * _UNITS[found[2]]


def hours(text: str) -> tuple[int, int]:
    """`02-05` as two hours of the day.

    Raises:
        ConfigError: it is something else.
    """
    found = re.fullmatch(r"(\d{1,2})-(\d{1,2})", text)
    if found is None:
        raise ConfigError(f"--hours is {text!r}; expected two hours of the day, as in 02-05")
    return int(found[1]), int(found[2])


CONNECTED: Final[Mapping[str, Callable[[Namespace, Connection], Outcome]]] = {
    "ingest": ingest,
    "rollout": rollout,
}
"""Commands that talk to a broker."""

ALONE: Final[Mapping[str, Callable[[Namespace], Outcome]]] = {
    "export": export,
    "mosquitto-acl": mosquitto_acl,
    "prune": prune,
}
