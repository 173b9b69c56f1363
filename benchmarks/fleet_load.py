"""What a fleet costs the receiving end: many devices, one Mosquitto, two ingests, one store.

Every device is a real session over a socket of its own (benchmarks/fleet/clients.py)
and has a result a second. At the end every row in the store is compared with
what was produced. Every process has a session of its own, as services have, because
Linux shares processors among sessions first. Prints one JSON object; `--plot`
draws how cost grows with the number of devices.

    python benchmarks/fleet_load.py [--devices 100 500] [--seconds 20] [--store sqlite]
        [--output FILE.json] [--plot FILE.svg]
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import IO, Any

from edgeml.fleet.localbroker import BrokerKind, LocalBroker, find_mosquitto, free_port
from edgeml.fleet.stores import open_store

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = ROOT / "benchmarks" / "fleet" / "clients.py"
PLOT = ROOT / "benchmarks" / "fleet" / "plot.py"
SAMPLE_S = 5.0
DEVICES_A_PROCESS = 500
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


class Watch:
    """Processor time and memory of some processes, and of their children, sampled now and then."""

    def __init__(self, processes: dict[str, int]) -> None:
        self._processes = processes
        self._stop = threading.Event()
        self.rss_mb: dict[str, list[float]] = {name: [] for name in processes}
        self.load: list[float] = []
        self._before: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Watch":
        self._before = {name: _cpu_s(pid) for name, pid in self._processes.items()}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds since it began."""
        return {n: round(_cpu_s(pid) - self._before[n], 2) for n, pid in self._processes.items()}

    def memory(self) -> dict[str, dict[str, float]]:
        """Each process' memory after a tenth of the time, at the end, and at most."""
        return {
            name: {
                "after_a_tenth_mb": round(rss[len(rss) // 10], 1),
                "at_half_mb": round(rss[len(rss) // 2], 1),
                "end_mb": round(rss[-1], 1),
                "max_mb": round(max(rss), 1),
            }
            for name, rss in self.rss_mb.items()
            if rss
        }

    def _run(self) -> None:
        while True:
            for name, pid in self._processes.items():
                self.rss_mb[name].append(_rss_mb(pid))
            self.load.append(os.getloadavg()[0])
            if self._stop.wait(SAMPLE_S):
                return


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return [pid, *(int(child) for child in children.read_text().split())]
    except OSError:
        return [pid]


def _cpu_s(pid: int) -> float:
    total = 0
    for one in _family(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # utime and stime; of children that have ended, too.
        total += sum(int(field) for field in fields[11:15])
    return total / TICKS_PER_S


def _rss_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MB
    except OSError:
        return 0.0


def measure(number: int, seconds: float, kind: str, home: Path) -> dict[str, Any]:
    """One run with so many devices."""
    with ExitStack() as stack:
        broker = stack.enter_context(_broker(home))
        place, server_pid = _place(kind, home, stack)
        ingests = [_start_ingest(broker.url, place, stack) for _ in range(2)]
        pids = {f"ingest {n + 1}": ingest.pid for n, ingest in enumerate(ingests)}
        pids["broker"] = broker.pid
        if server_pid is not None:
            pids["database"] = server_pid
        clients = _start_clients(broker.port, number, seconds, stack)
        started_s = monotonic()
        with Watch(pids) as watch:
            _begin(clients)
            documents = [json.loads(_out(client).read()) for client in clients]
            cpu_s = watch.cpu_s()
        took_s = monotonic() - started_s
        tallies = [_end_ingest(ingest) for ingest in ingests]
        produced = {name: n for one in documents for name, n in one["produced"].items()}
        waiting = {name: set(seqs) for one in documents for name, seqs in one["waiting"].items()}
        cpu_s["devices"] = round(sum(one["cpu_s"] for one in documents), 2)
        return {
            "devices": number,
            "seconds": seconds,
            "took_s": round(took_s, 1),
            "produced": sum(produced.values()),
            "waiting": sum(map(len, waiting.values())),
            **_compare(place, produced, waiting),
            "sent_again": sum(one["sent_again"] for one in documents),
            "problems": [problem for one in documents for problem in one["problems"]],
            "confirmed_lag_s": _quantiles(documents),
            "ingests_rows": [tally["rows"] for tally in tallies],
            "commits": [tally["commits"] for tally in tallies],
            "duplicates": sum(tally["duplicates"] for tally in tallies),
            "dead_letters": sum(tally["dead_letters"] for tally in tallies),
            "cpu_s": cpu_s,
            "memory": watch.memory(),
            "load_average": {
                "first": round(watch.load[0], 1),
                "mean": round(sum(watch.load) / len(watch.load), 1),
                "max": round(max(watch.load), 1),
            },
        }


def _start_clients(
    port: int, number: int, seconds: float, stack: ExitStack
) -> "list[subprocess.Popen[str]]":
    clients = []
    for first in range(0, number, DEVICES_A_PROCESS):
        few = min(DEVICES_A_PROCESS, number - first)
        arguments = [str(port), "bench", str(first), str(few), str(seconds)]
        client = subprocess.Popen(
            [sys.executable, str(CLIENTS), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        stack.callback(client.kill)
        clients.append(client)
    for client in clients:
        if _out(client).readline() != "ready\n":
            raise SystemExit("the devices did not come up")
    return clients


def _begin(clients: "list[subprocess.Popen[str]]") -> None:
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("begin\n")
        client.stdin.flush()


def _out(process: "subprocess.Popen[str]") -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def _quantiles(documents: list[dict[str, Any]]) -> dict[str, float]:
    """From the moment at which a result was due until the device heard that it is stored."""
    counts: Counter[int] = Counter()
    for document in documents:
        counts.update(dict(document["lags_ms"]))
    whole, so_far = counts.total(), 0
    found: dict[str, float] = {}
    for lag_ms in sorted(counts):
        so_far += counts[lag_ms]
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)):
            if so_far >= share * whole:
                found.setdefault(name, lag_ms / 1000)
    return found


def _broker(home: Path) -> LocalBroker:
    """A Mosquitto that keeps as much for a subscriber as `edgeml fleet mosquitto-acl` lets it."""
    mosquitto = find_mosquitto()
    if mosquitto is None:
        raise SystemExit("this needs Mosquitto: make mosquitto")
    port = free_port()
    settings = home / "mosquitto.conf"
    settings.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 10000\n",
        encoding="utf-8",
    )
    return LocalBroker(
        BrokerKind("mosquitto", ("setsid", str(mosquitto), "-c", str(settings))), port
    )


def _place(kind: str, home: Path, stack: ExitStack) -> tuple[str, int | None]:
    if kind == "sqlite":
        return str(home / "store.db"), None
    sys.path.insert(0, str(ROOT))
    from tests.postgres import Server

    server = Server("fsync=on", "full_page_writes=on", "shared_buffers=128MB")
    stack.callback(server.close)
    return server.new_database(), server.pid


def _start_ingest(url: str, place: str, stack: ExitStack) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edgeml", "fleet", "ingest", "--broker", url, "--json"]
    process = subprocess.Popen(
        [*command, "--fleet", "bench", "--store", place],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    stack.callback(process.kill)
    assert process.stderr is not None
    for line in process.stderr:
        if "online" in line:
            # What it says later must not fill the pipe.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process
    raise SystemExit("the ingest did not come up")


def _end_ingest(process: "subprocess.Popen[str]") -> dict[str, int]:
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    tally: dict[str, int] = json.loads(process.stdout.read())
    process.wait()
    return tally


def _compare(place: str, produced: dict[str, int], waiting: dict[str, set[int]]) -> dict[str, Any]:
    """Every row in the store against what was produced; lost is what is nowhere."""
    sys.path.insert(0, str(CLIENTS.parent))
    score_of = __import__("clients").score_of
    seen: dict[str, int] = {}
    lost = doubled = wrong = 0
    lags: list[float] = []
    store = open_store(place)
    for row in store.results():
        device, seq = row["device"], row["seq"]
        doubled += seq <= seen.get(device, 0)
        wrong += row["score"] != score_of(seq)
        skipped = range(seen.get(device, 0) + 1, seq)
        lost += sum(n not in waiting.get(device, ()) for n in skipped)
        seen[device] = seq
        lags.append(row["received_s"] - row["end_s"])
    gaps = len(store.gaps())
    store.close()
    for device, last in produced.items():
        rest = range(seen.get(device, 0) + 1, last + 1)
        lost += sum(n not in waiting.get(device, ()) for n in rest)
    lags.sort()
    return {
        "stored": len(lags),
        "lost": lost,
        "doubled": doubled,
        "wrong": wrong,
        "gap_records": gaps,
        "stored_lag_s": {
            "p50": round(lags[len(lags) // 2], 4),
            "p99": round(lags[len(lags) * 99 // 100], 4),
            "max": round(lags[-1], 4),
        },
    }


def main() -> None:
    """Measure each number of devices and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, nargs="*", default=[100, 500])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--directory", type=Path, default=Path(), help="where a SQLite store goes")
    parser.add_argument("--output", type=Path, metavar="JSON", help="write the figures here, too")
    parser.add_argument("--plot", type=Path, metavar="SVG", help="draw them here")
    args = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    runs = []
    for number in args.devices:
        with tempfile.TemporaryDirectory(dir=args.directory) as home:
            runs.append(measure(number, args.seconds, args.store, Path(home)))
            print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    document = {"store": args.store, "cores": os.cpu_count(), "runs": runs}
    if args.output is not None:
        args.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if args.plot is not None:
        drawing = [sys.executable, str(PLOT), str(args.plot)]
        subprocess.run(drawing, input=json.dumps(document), text=True, check=True)
    print(json.dumps(document))


if __name__ == "__main__":
    main()
