"""What an update costs a fleet at once: one Mosquitto, many devices that fetch and go on inferring.

Two hundred devices send a result a second (real sessions, benchmarks/fleet/clients.py,
with a real ingest and store), first undisturbed, then while each of them fetches the
release over a second connection (benchmarks/fanout/fetchers.py). In the same run as
many bare clients fetch the same chunks, turn about with the devices, so that the
ratio says what edgeml adds. Prints one JSON object.

    python benchmarks/update_fanout.py [--devices 200] [--mib 20] [--rounds 2] [--workers 4]
        [--seconds 15] [--rate BYTES_A_SECOND]

With --rate, as `Updates(max_bytes_per_s=…)`, each device fetches no faster, which is how a
fleet is updated on a broker that has little to spare.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from fanout.fetchers import content, index_of
from fleet_load import (
    _begin,
    _broker,
    _end_ingest,
    _out,
    _quantiles,
    _rss_mb,
    _start_clients,
    _start_ingest,
)

from edgeml.fleet.repo.packing import encode
from edgeml.releases.chunk import MAX_CHUNK_BYTES
from edgeml.releases.names import file_name
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.line import Message, Published
from edgeml.sync.link import Link

FETCHERS = Path(__file__).resolve().parent / "fanout" / "fetchers.py"
FLEET = "bench"
WINDOW = 16
SAMPLE_S = 0.2


def publish(url: str, data: bytes) -> None:
    """Leave every chunk at the broker, retained."""
    link = Link(Connection(url), "publisher")
    link.open()
    while not link.online:
        link.step(0.5)
    pieces = [data[i : i + MAX_CHUNK_BYTES] for i in range(0, len(data), MAX_CHUNK_BYTES)]
    waiting: set[int] = set()
    for chunk, piece in zip(index_of(data).chunks, pieces, strict=True):
        topic = topics.published(FLEET, file_name(chunk.digest))
        waiting.add(link.publish(Message(topic, encode(piece), retain=True)))
        while len(waiting) >= WINDOW:
            waiting -= {event.token for event in link.step(5.0) if isinstance(event, Published)}
    while waiting:
        waiting -= {event.token for event in link.step(5.0) if isinstance(event, Published)}
    link.close()


def fan_out(kind: str, url: str, args: argparse.Namespace) -> dict[str, Any]:
    """Let so many clients of a kind fetch it; the aggregate rate."""
    with ExitStack() as stack:
        workers = []
        share = -(-args.devices // args.workers)
        for first in range(0, args.devices, share):
            few = min(share, args.devices - first)
            order = [kind, url, FLEET, first, few, args.mib, args.rate]
            worker = subprocess.Popen(
                [sys.executable, str(FETCHERS), *map(str, order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            stack.callback(worker.kill)
            workers.append(worker)
        for worker in workers:
            _out(worker).readline()
        started_s = monotonic()
        _begin(workers)
        documents = [json.loads(_out(worker).read()) for worker in workers]
        took_s = monotonic() - started_s
    fetched = sum(one["bytes"] for one in documents)
    return {
        "kind": kind,
        "took_s": round(took_s, 1),
        "mb_per_s": round(fetched / took_s / 1e6, 1),
        "whole": sum(one["whole"] for one in documents),
        "cpu_s": round(sum(one["cpu_s"] for one in documents), 1),
        "problems": [problem for one in documents for problem in one["problems"]],
    }


class Peak:
    """The most memory that a process had, sampled."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self.most_mb = _rss_mb(pid)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self.most_mb = max(self.most_mb, _rss_mb(self._pid))


def results(
    port: int, args: argparse.Namespace, seconds: float, meanwhile: Any = None
) -> dict[str, Any]:
    """Let the devices infer for so long; how late results were confirmed."""
    with ExitStack() as stack:
        clients = _start_clients(port, args.devices, seconds, stack)
        _begin(clients)
        sleep(2.0)  # what they all do at the beginning is not what is measured
        found = meanwhile() if meanwhile is not None else None
        documents = [json.loads(_out(client).read()) for client in clients]
    return {"confirmed_lag_s": _quantiles(documents), "meanwhile": found}


def main() -> None:
    """Publish, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--mib", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2, help="of each kind, turn about")
    parser.add_argument("--seconds", type=float, default=15.0, help="undisturbed")
    parser.add_argument("--rate", type=float, default=0.0, help="bytes a second for each device")
    args = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        broker = stack.enter_context(_broker(Path(home)))
        publish(broker.url, content(args.mib))
        stored_mb = _rss_mb(_mosquitto(broker.pid))
        peak = stack.enter_context(Peak(_mosquitto(broker.pid)))
        rounds = [
            fan_out(kind, broker.url, args)
            for _ in range(args.rounds)
            for kind in ("bare", "device")
        ]
        ingest = _start_ingest(broker.url, str(Path(home) / "store.db"), stack)
        before = results(broker.port, args, args.seconds)
        longest_s = max(one["took_s"] for one in rounds if one["kind"] == "device")
        during = results(
            broker.port,
            args,
            longest_s + 2.0,
            lambda: fan_out("device", broker.url, args),
        )
        _end_ingest(ingest)
        rates = {
            kind: statistics.median(one["mb_per_s"] for one in rounds if one["kind"] == kind)
            for kind in ("bare", "device")
        }
        document = {
            "cores": os.cpu_count(),
            "devices": args.devices,
            "mib": args.mib,
            "rate": args.rate,
            "mb_per_s": rates,
            "ratio": round(rates["device"] / rates["bare"], 3),
            "rounds": rounds,
            "results_before": before["confirmed_lag_s"],
            "results_during": during["confirmed_lag_s"],
            "fan_out_during": during["meanwhile"],
            "broker_mb": {"with_the_chunks": round(stored_mb, 1), "most": round(peak.most_mb, 1)},
            "load_average": os.getloadavg()[0],
        }
    print(json.dumps(document))


def _mosquitto(pid: int) -> int:
    """The broker itself, where the process that was started is only what began its session."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return int(children[0]) if children else pid


if __name__ == "__main__":
    main()
