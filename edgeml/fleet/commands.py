"""What each command of `edgeml fleet` does: from the verb's options to what came of it.

A command gives one JSON object, and the same in words.
"""

import logging
import signal
import threading
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from edgeml.clock import SystemClock
from edgeml.errors import ConfigError
from edgeml.sync.connection import Connection

Outcome = tuple[Mapping[str, Any], str]


def until_told_to_stop(wake: Callable[[], object] = lambda: None) -> threading.Event:
    """Is set by ^C and by whoever ends this process; `wake` is called then, too."""
    stop = threading.Event()

    def end(*_: object) -> None:
        stop.set()
        wake()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return stop


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
