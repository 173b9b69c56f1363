"""A device at a thousand samples a second: nothing dropped, no memory taken, a core mostly idle.

Another process clocks an IIO sensor as the kernel does: records of six channels with their
times into a buffer of a second, which drops what finds no room; its reader is woken for twenty
records. This process is the device: the real driver, the queue, windows of 100 rows every 10,
and the `activity` model. Prints one JSON line, and ends with 1 where a bound does not hold.

    python benchmarks/soak.py [--seconds 60] [--rate-hz 1000]
"""

import argparse
import fcntl
import json
import math
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from edgeml import Device
from edgeml.bundle import Bundle, pack
from edgeml.health import DeviceHealth
from edgeml.runtime.process import rss_mb
from edgeml.sensors import IioBuffered, Sensor
from edgeml.sensors.fake_iio import FakeIio

ACTIVITY: Final = Path(__file__).parent.parent / "models" / "activity" / "activity.tflite"
CHANNELS: Final = tuple(f"{kind}_{axis}" for kind in ("accel", "anglvel") for axis in "xyz")
RECORD: Final = struct.Struct("<6h4xq")
STRIDE: Final = 10

MOST_CORE: Final = 0.15
MOST_GROWTH_MB: Final = 1.0
WARM_UP: Final = 0.2
"""The part of the run after which nothing may grow: by then each path was taken often."""


def clock_sensor(folder: Path, rate_hz: float, seconds: float) -> None:
    """The chip and the kernel: records at their times, as many at once as the watermark says.

    It begins when the buffer is enabled, and ends when it no longer is.
    """
    buffer = folder / "devices" / "iio:device0" / "buffer"
    print("ready", flush=True)
    while (buffer / "enable").read_text().strip() != "1":
        time.sleep(0.01)
    together = int((buffer / "watermark").read_text())
    length = int((buffer / "length").read_text())
    node = os.open(folder / "dev" / "iio:device0", os.O_WRONLY | os.O_NONBLOCK)
    fcntl.fcntl(node, fcntl.F_SETPIPE_SZ, length * RECORD.size)
    begin_s, unix_ns = time.monotonic(), time.time_ns()
    sent = lost = 0
    while sent < rate_hz * seconds:
        time.sleep(max(begin_s + (sent + together) / rate_hz - time.monotonic(), 0.0))
        if (buffer / "enable").read_text().strip() == "0":
            break
        records = bytearray()
        for i in range(sent, sent + together):
            turn = 2 * math.pi * i / rate_hz
            values = (round(1000 * math.sin(turn * k)) << 4 for k in range(1, 7))
            records += RECORD.pack(*values, unix_ns + round(i * 1e9 / rate_hz))
        sent += together
        try:
            lost += together - os.write(node, records) // RECORD.size
        except BlockingIOError:
            lost += together
    print(json.dumps({"sent": sent, "lost": lost}))


def at_rate(rate_hz: float) -> bytes:
    """The `activity` model, told that samples come so fast and windows every 10 of them."""
    bundle = Bundle.read(ACTIVITY)
    inputs = bundle.manifest.inputs._replace(sample_rate_hz=rate_hz, stride=STRIDE)
    return pack(bundle.tflite, bundle.manifest.replace(inputs=inputs), bundle.golden)


def soak(seconds: float, rate_hz: float) -> dict[str, Any]:
    """Run the device; what happened."""
    with tempfile.TemporaryDirectory() as home:
        FakeIio(Path(home), CHANNELS).set("name", "imu")
        driver = IioBuffered(
            "imu",
            CHANNELS,
            rate_hz=rate_hz,
            length=math.ceil(rate_hz),
            devices=Path(home) / "devices",
            nodes=Path(home) / "dev",
        )
        command = [sys.executable, __file__, "--clock", home]
        numbers = ["--seconds", str(seconds), "--rate-hz", str(rate_hz)]
        with subprocess.Popen([*command, *numbers], stdout=subprocess.PIPE) as kernel:
            try:
                assert kernel.stdout is not None
                kernel.stdout.readline()  # it has been imported, and waits for the device
                figures = _device(driver, seconds, rate_hz)
                told, _ = kernel.communicate(timeout=60)
            finally:
                kernel.kill()
    return {**figures, **json.loads(told)}


def _device(driver: IioBuffered, seconds: float, rate_hz: float) -> dict[str, Any]:
    memory: list[float] = []
    end_s = time.monotonic() + seconds
    model = at_rate(rate_hz)
    names = [channel.name for channel in Bundle.read(ACTIVITY).manifest.inputs.channels]
    with Device("soak", model=model) as device:
        source = Sensor(driver, names=names)
        cpu_s, due_s = time.process_time(), time.monotonic()
        begin_s = due_s
        for _ in device.run(source, tick=lambda: time.monotonic() < end_s):
            if time.monotonic() >= due_s:
                due_s += max(seconds / 600, 0.1)
                memory.append(rss_mb() or 0.0)
        core = (time.process_time() - cpu_s) / (time.monotonic() - begin_s)
        health = device.health()
    return {
        "seconds": seconds,
        "rate_hz": rate_hz,
        **counted(health),
        "core": round(core, 4),
        "rss_mb": round(memory[-1], 2),
        "rss_growth_mb": round(growth_mb(memory), 3),
        "window_p99_us": round(health.p99_us, 1),
        "load": round(os.getloadavg()[0], 2),
    }


def counted(health: DeviceHealth) -> dict[str, int]:
    """What came, what became of it, and what was lost on the way."""
    (stats,), (live,) = health.windows, health.sources.values()
    return {
        "samples": stats.samples,
        "windows": stats.windows,
        "expected_windows": max(stats.samples - 100, -STRIDE) // STRIDE + 1,
        "queue_dropped": live.dropped,
        "queue_most": live.most,
        "gaps": stats.gaps + stats.backward_steps,
        "faults": 0 if live.source is None else live.source.faults,
    }


def growth_mb(memory: list[float]) -> float:
    """From the first third after warming up to the last: medians, so that no peak counts."""
    settled = memory[int(len(memory) * WARM_UP) :]
    third = max(len(settled) // 3, 1)
    return statistics.median(settled[-third:]) - statistics.median(settled[:third])


def complaints(figures: dict[str, Any]) -> list[str]:
    """Every bound that does not hold."""
    found = [
        f"{figures[name]} {name}, none expected"
        for name in ("lost", "queue_dropped", "gaps", "faults")
        if figures[name]
    ]
    if figures["windows"] != figures["expected_windows"]:
        found.append(f"{figures['windows']} windows, {figures['expected_windows']} expected")
    if figures["samples"] < 0.9 * figures["seconds"] * figures["rate_hz"]:
        found.append(f"only {figures['samples']} samples arrived")
    if figures["core"] > MOST_CORE:
        found.append(f"{figures['core']:.1%} of a core, {MOST_CORE:.0%} allowed")
    if figures["rss_growth_mb"] > MOST_GROWTH_MB:
        found.append(f"{figures['rss_growth_mb']} MiB grown, {MOST_GROWTH_MB} allowed")
    return found


def main() -> int:
    """Print the figures; 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate-hz", type=float, default=1000.0)
    parser.add_argument("--clock", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.clock:
        clock_sensor(arguments.clock, arguments.rate_hz, arguments.seconds)
        return 0
    figures = soak(arguments.seconds, arguments.rate_hz)
    found = complaints(figures)
    print(json.dumps({**figures, "complaints": found}))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
