"""Results a second from `put` to committed in the fleet's store and acknowledged, beside bare paho.

One device, one Mosquitto, one ingest with SQLite, each a process of its own;
everything durable at both ends. The peer publishes each result alone with paho
at QoS 1, which stores nothing anywhere, and counts the broker's answers.
Prints one JSON line.

    python benchmarks/delivery_throughput.py [--rows 100000] [--directory .]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from time import perf_counter

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edgeml.fleet.localbroker import LocalBroker
from edgeml.fleet.sqlite_store import SQLiteStore
from edgeml.result import ModelRef, Result
from edgeml.sync.delivery import Delivery
from edgeml.sync.rows import result_row
from edgeml.sync.settings import Mqtt

MODEL = ModelRef("activity", 3, "ab" * 32)
PEER_ROWS = 10_000


def a_result(n: int) -> Result:
    """One of the results to deliver."""
    return Result(
        MODEL, n / 10, n / 10 + 10, "walking", 0.75, (0.125, 0.75, 0.0625), 11.5, 80.25, 3.0
    )


def edgeml_results_s(broker: LocalBroker, home: Path, rows: int) -> float:
    """From the first `put` until the store has confirmed the last."""
    store = home / "store.db"
    command = [sys.executable, "-m", "edgeml", "fleet", "ingest", "--broker", broker.url]
    settings = Mqtt(broker.url, outbox=home / "outbox.db", memory_rows=rows + 1)
    results = [a_result(n) for n in range(rows)]
    with subprocess.Popen([*command, "--store", str(store)], stdout=subprocess.DEVNULL) as ingest:
        try:
            with Delivery("bench", settings) as delivery:
                delivery.put(results[0])
                if not delivery.wait_delivered(60):
                    raise SystemExit("the ingest did not come up")
                start = perf_counter()
                for result in results[1:]:
                    delivery.put(result)
                if not delivery.wait_delivered(600):
                    raise SystemExit(f"not delivered: {delivery.health()}")
                seconds = perf_counter() - start
        finally:
            ingest.terminate()
    reader = SQLiteStore(store)
    stored = sum(1 for _ in reader.results())
    reader.close()
    if stored != rows:
        raise SystemExit(f"{stored} of {rows} results are in the store")
    return (rows - 1) / seconds


def paho_results_s(broker: LocalBroker) -> float:
    """From the first publish until the broker has answered the last; nothing is stored."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(1000)
    answered = threading.Semaphore(0)
    client.on_publish = lambda *_: answered.release()
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    payloads = [result_row(n + 1, a_result(n), n, None) for n in range(PEER_ROWS)]
    start = perf_counter()
    for payload in payloads:
        client.publish("bench/results", payload, qos=1)
    for _ in payloads:
        answered.acquire()
    seconds = perf_counter() - start
    client.disconnect()
    client.loop_stop()
    return PEER_ROWS / seconds


def main() -> None:
    """Run both in turn and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--directory", type=Path, default=Path())
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.directory) as name, LocalBroker() as broker:
        peer = paho_results_s(broker)
        ours = edgeml_results_s(broker, Path(name), args.rows)
    print(
        json.dumps(
            {
                "delivered_results_s": round(ours),
                "paho_results_s": round(peer),
                "times_paho": round(ours / peer, 1),
                "broker": broker.kind.name,
            }
        )
    )


if __name__ == "__main__":
    main()
