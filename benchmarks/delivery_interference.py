"""What delivery costs the thread that infers: `predict` with sync off and on, in turns, in one run.

With sync on everything that could hurt is there: the broker is dead, so the
link keeps trying; the outbox is at its cap, so it evicts; every group is
fsynced. Windows come at a fixed rate, as from a sensor. Blocks of both kinds
alternate, so both meet the same machine. Prints one JSON line.

    python benchmarks/delivery_interference.py [--rate-hz 200] [--blocks 10] [--seconds 3]
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from time import perf_counter, perf_counter_ns

import numpy as np

from edgeml.result import ModelRef, Result
from edgeml.runtime.model import Model
from edgeml.sync.delivery import Delivery
from edgeml.sync.settings import Mqtt

FIXTURE = Path(__file__).parent.parent / "tests" / "fixtures" / "classifier_int8.tflite"


def block(
    model: Model, window: np.ndarray, rate_hz: float, seconds: float, delivery: Delivery | None
) -> tuple[list[int], list[int]]:
    """What each `predict`, and each `put` where there is a delivery, took in ns."""
    took, putting = [], []
    due = perf_counter()
    for _ in range(int(rate_hz * seconds)):
        due += 1 / rate_hz
        time.sleep(max(due - perf_counter(), 0.0))
        before = perf_counter_ns()
        result = model.predict(window)
        took.append(perf_counter_ns() - before)
        if delivery is not None:
            before = perf_counter_ns()
            delivery.put(result)
            putting.append(perf_counter_ns() - before)
    return took, putting


def fill(delivery: Delivery) -> None:
    """Put until the outbox is at its cap and evicts."""
    ref = ModelRef("filler", 1, "00")
    while not delivery.health().missing_rows:
        for n in range(2_000):
            delivery.put(Result(ref, n, n, "x", 0.5, (0.5,) * 20, 1.0, 1.0, 1.0))
        delivery.flush(60)


def percentile(values: list[int], share: float) -> float:
    """In microseconds."""
    return sorted(values)[int(len(values) * share)] / 1000


def main() -> None:
    """Run the blocks in turn and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=FIXTURE)
    parser.add_argument("--rate-hz", type=float, default=200.0)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--directory", type=Path, default=Path())
    args = parser.parse_args()
    off: list[int] = []
    on: list[int] = []
    put: list[int] = []
    with Model.load(args.model) as model, tempfile.TemporaryDirectory(dir=args.directory) as home:
        window = np.zeros(model.input_spec.shape[1:], np.float32)
        block(model, window, args.rate_hz, 0.5, None)
        for turn in range(args.blocks):
            off += block(model, window, args.rate_hz, args.seconds, None)[0]
            settings = Mqtt(
                "mqtt://127.0.0.1:1",
                outbox=Path(home) / "outbox.db",
                results_cap_bytes=1 << 20,
                reconnect_max_s=2.0,
            )
            with Delivery("bench", settings) as delivery:
                if turn == 0:
                    fill(delivery)
                predicting, putting = block(model, window, args.rate_hz, args.seconds, delivery)
                on += predicting
                put += putting
                if not delivery.health().missing_rows:
                    raise SystemExit("the outbox was not full, so this measured something else")
    print(
        json.dumps({
            "off_p50_us": percentile(off, 0.5), "on_p50_us": percentile(on, 0.5),
            "off_p99_us": percentile(off, 0.99), "on_p99_us": percentile(on, 0.99),
            "times_p50": round(percentile(on, 0.5) / percentile(off, 0.5), 3),
            "times_p99": round(percentile(on, 0.99) / percentile(off, 0.99), 3),
            "put_p50_us": percentile(put, 0.5), "put_p99_us": percentile(put, 0.99),
            "predictions": len(on), "rate_hz": args.rate_hz,
        })
    )  # fmt: skip


if __name__ == "__main__":
    main()
