"""What others publish at a real broker becomes samples, and goes on when the broker comes back."""

import itertools
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from edgeml.errors import ConfigError
from edgeml.fleet.localbroker import LocalBroker
from edgeml.sensors import Live, MqttTopic, Sensor, SourceState
from edgeml.sync.connection import Connection
from edgeml.sync.line import Message
from edgeml.sync.link import Link
from edgeml.sync.subscription import Subscriptions

TOPIC = "home/kitchen"


class Publisher:
    """Somebody else, who publishes a number again and again."""

    def __init__(self, url: str) -> None:
        self._over = threading.Event()
        self._link = Link(Connection(url, reconnect_min_s=0.1), "somebody-else")
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._link.wake()
        self._thread.join(60)

    def _run(self) -> None:
        self._link.open()
        numbers = itertools.count()
        while not self._over.is_set():
            self._link.step(0.02)
            if self._link.online:
                payload = b'{"t": %d, "h": [40]}' % next(numbers)
                self._link.publish(Message(TOPIC, payload, qos=0))
        self._link.close()


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    with LocalBroker() as found:
        yield found


def test_a_topic_is_a_sensor_that_survives_its_broker(broker: LocalBroker) -> None:
    publisher = Publisher(broker.url)
    line = Subscriptions(Connection(broker.url, reconnect_min_s=0.1), "device-1-sensor")
    sensor = Sensor(MqttTopic(line, "home/+", {"t": "t", "h": "h[0]"}))
    live = Live(sensor, capacity=100)
    samples = iter(live)
    first = next(samples)
    broker.kill()
    broker.start()
    before = first.values[0]
    later = list(itertools.islice(samples, 200))
    publisher.close()
    assert live.close(60)
    numbers = [int(s.values[0]) for s in later]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] > before
    assert all(s.values[1] == np.float32(40) for s in later)
    assert sensor.health().state is SourceState.CLOSED
    assert not [t for t in threading.enumerate() if t.name.startswith("edgeml-")]


@pytest.mark.parametrize("topic", ["", "a#", "#/a", "a/+b", "a\0b"])
def test_a_filter_that_no_broker_takes_is_refused(topic: str) -> None:
    with pytest.raises(ConfigError, match="home/"):
        Subscriptions(Connection("mqtt://localhost"), "x").subscribe(topic, lambda _: None)
