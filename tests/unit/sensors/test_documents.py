"""Every snippet of docs/sensors.md and every sensor's example runs, on fakes for the sensors."""

import contextlib
import itertools
import re
import runpy
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pytest

from edgeml.sensors import IioBuffered, IioPolled, SerialLines, camera
from edgeml.sensors.fake_iio import FakeIio
from edgeml.sensors.fakes import (
    FakeBoard,
    FakeBus,
    FakeCamera,
    FakeMpu6050,
    FakeSoundCard,
    FakeSubscriber,
)

CHECKOUT: Final = Path(__file__).parents[3]
DOCUMENT: Final = (CHECKOUT / "docs/sensors.md").read_text("utf-8")
SNIPPETS: Final = tuple(re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL))
EXAMPLES: Final = ("recognise_movement.py", "read_a_board.py", "watch_this_machine.py")
LINES: Final = 3
MOST_LINES: Final = 15

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sensors are Linux's")


class Enough(BaseException):
    """The snippet printed what it should, and would go on for ever."""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBoard]:
    """A bench with one of each sensor on it, all of them speaking."""
    chip, card, board = FakeMpu6050(), FakeSoundCard(), FakeBoard()
    tree, line = FakeIio(tmp_path), FakeSubscriber()
    frames = itertools.repeat(np.zeros((96, 96, 3), np.uint8))
    smbus2 = SimpleNamespace(SMBus=lambda _: FakeBus({0x68: chip}))
    monkeypatch.setitem(sys.modules, "smbus2", smbus2)
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    monkeypatch.setattr(camera, "OpenCvCapture", FakeCamera(frames))
    with contextlib.suppress(ImportError):  # without paho the snippet is skipped
        monkeypatch.setattr("edgeml.sync.subscription.Subscriptions", lambda *_: line)
    for driver in (IioPolled, IioBuffered):
        defaults = dict(driver.__init__.__kwdefaults__ or {})
        ours = {"devices": tree.devices, "nodes": tree.nodes}
        found = {name: ours.get(name, value) for name, value in defaults.items()}
        monkeypatch.setattr(driver.__init__, "__kwdefaults__", found)
    original = SerialLines.__init__

    def plugged(self: SerialLines, port: str, *rest: Any, **settings: Any) -> None:
        original(self, board.port if port == "/dev/ttyACM0" else port, *rest, **settings)

    monkeypatch.setattr(SerialLines, "__init__", plugged)
    over = threading.Event()
    times_ns = itertools.count(1_700_000_000_000_000_000, 10_000_000)

    def speak() -> None:
        while not over.wait(0.001):
            chip.measure((0, 0, 9.8), (0, 0, 0))
            card.hear(np.zeros((160, 1), np.float32))
            board.say("1,2,3\n")
            line.publish("zigbee2mqtt/kitchen", b'{"temperature": 21, "humidity": 40}')
            if tree.get("buffer/enable") == "1":
                tree.record((1, 2, 3), next(times_ns))

    speaker = threading.Thread(target=speak)
    speaker.start()
    yield board
    over.set()
    speaker.join(10.0)
    board.unplug()
    tree.unplug()


def printer(printed: list[str]) -> Callable[..., None]:
    def enough(*words: object) -> None:
        printed.append(" ".join(map(str, words)))
        if len(printed) == LINES:
            raise Enough

    return enough


def needs(text: str) -> None:
    if "SerialLines" in text:
        pytest.importorskip("serial", reason="pyserial is not installed")
    if "Device" in text or "Subscriptions" in text:
        pytest.importorskip("paho", reason="it needs paho-mqtt")


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_every_snippet_of_the_document_runs(
    number: int, bench: FakeBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    snippet = SNIPPETS[number]
    needs(snippet)
    monkeypatch.chdir(CHECKOUT)
    printed: list[str] = []
    with contextlib.suppress(Enough):
        exec(compile(snippet, f"snippet {number}", "exec"), {"print": printer(printed)})  # noqa: S102
    assert printed
    assert len(snippet.splitlines()) <= MOST_LINES


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_sensors_example_runs(
    name: str, bench: FakeBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = CHECKOUT / "examples" / name
    needs(path.read_text("utf-8"))
    monkeypatch.chdir(CHECKOUT)
    monkeypatch.setattr(sys, "argv", [name, bench.port])
    printed: list[str] = []
    with pytest.raises(Enough):
        runpy.run_path(str(path), {"print": printer(printed)})
    assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES
