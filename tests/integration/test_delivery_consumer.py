"""Somebody else's consumer gets the results, by the page of the protocol alone."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edgeml.fleet.localbroker import LocalBroker
from edgeml.result import ModelRef, Result
from edgeml.sync.delivery import Delivery
from edgeml.sync.settings import Mqtt
from tests.waiting import until

EXAMPLE = Path(__file__).parents[2] / "examples" / "consume_results.py"
DEADLINE_S = 300.0


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    with LocalBroker() as running:
        yield running


def settings(broker: LocalBroker, tmp_path: Path, *, latest: bool = False) -> Mqtt:
    return Mqtt(
        broker.url,
        outbox=tmp_path / "outbox.db",
        ack="broker",
        latest=latest,
        reconnect_min_s=0.1,
        reconnect_max_s=0.5,
    )


def a_result(n: int) -> Result:
    return Result(ModelRef("m", 1, "00"), n, n + 1.0, f"label-{n}", 0.5, (0.5,), 1.0, 1.0, 1.0)


def test_the_consumer_of_the_examples_prints_every_result(
    broker: LocalBroker, tmp_path: Path
) -> None:
    command = [sys.executable, str(EXAMPLE), "127.0.0.1", str(broker.port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as consumer:
        timer = threading.Timer(DEADLINE_S, consumer.kill)
        timer.start()
        assert consumer.stdout is not None
        with Delivery("pump-7", settings(broker, tmp_path)) as delivery:
            # The consumer subscribes when it subscribes, so results go on until it prints one.
            lines: list[str] = []
            printed = threading.Event()

            def read(stdout: IO[str] = consumer.stdout) -> None:
                lines.append(stdout.readline())
                printed.set()

            reader = threading.Thread(target=read)
            reader.start()
            n = 0
            while not printed.wait(0.1):
                delivery.put(a_result(n))
                n += 1
            reader.join()
        consumer.kill()
        timer.cancel()
    device, seq, label, score = lines[0].split()
    assert (device, label, score) == ("pump-7", f"label-{int(seq) - 1}", "0.5")


def retained(broker: LocalBroker, topic: str) -> bytes:
    """What a broker keeps for who comes later."""
    found = threading.Event()
    payloads: list[bytes] = []

    def keep(_c: Client, _u: object, message: MQTTMessage) -> None:
        payloads.append(bytes(message.payload))
        found.set()

    reader = Client(CallbackAPIVersion.VERSION2)
    reader.on_message = keep
    reader.connect("127.0.0.1", broker.port)
    reader.subscribe(topic)
    reader.loop_start()
    assert found.wait(DEADLINE_S)
    reader.disconnect()
    reader.loop_stop()
    return payloads[0]


def test_a_flat_latest_value_is_there_for_who_comes_later(
    broker: LocalBroker, tmp_path: Path
) -> None:
    with Delivery("pump-7", settings(broker, tmp_path, latest=True)) as delivery:
        for n in range(50):
            delivery.put(a_result(n))
        assert delivery.wait_delivered(DEADLINE_S)
        # A broker may say that it has the last results before it has seen to their latest value.
        until(lambda: b"label-49" in retained(broker, "edgeml/1/default/d/pump-7/latest"))
        payload = retained(broker, "edgeml/1/default/d/pump-7/latest")
    assert json.loads(payload) == {
        "device": "pump-7", "model": "m@1", "time_s": 50.0, "label": "label-49", "score": 0.5,
    }  # fmt: skip
