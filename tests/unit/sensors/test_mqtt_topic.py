"""What others publish becomes samples, and what cannot be read is counted."""

import numpy as np
import pytest

from edgeml.clock import ManualClock
from edgeml.errors import ConfigError, SensorError
from edgeml.sensors import MqttTopic
from edgeml.sensors.fakes import FakeSubscriber
from edgeml.sensors.mqtt_topic import MOST_WAITING

TOPIC = "zigbee2mqtt/kitchen"


def opened(line: FakeSubscriber) -> MqttTopic:
    driver = MqttTopic(line, TOPIC, {"t": "temperature", "h": "air.humidity"}, clock=ManualClock())
    driver.open()
    return driver


def test_messages_are_samples_of_the_values_at_their_paths() -> None:
    line = FakeSubscriber()
    driver = opened(line)
    line.publish(TOPIC, b'{"temperature": 21.5, "air": {"humidity": 40}}')
    line.publish(TOPIC, b'{"temperature": 22.5, "air": {"humidity": null}}')
    first, second = driver.read(0.0).samples
    np.testing.assert_array_equal(first.values, [21.5, 40])
    assert np.isnan(second.values[1])
    assert first.time_s < second.time_s
    assert driver.read(0.0).samples == ()


def test_a_message_of_another_shape_is_counted_with_its_reason() -> None:
    line = FakeSubscriber()
    driver = opened(line)
    line.publish(TOPIC, b"offline")
    line.publish(TOPIC, b'{"temperature": 1, "air": {"humidity": 2}}')
    batch = driver.read(0.0)
    assert (len(batch.samples), batch.malformed) == (1, 1)
    assert TOPIC in batch.complaint


def test_a_flood_is_bounded_and_counted() -> None:
    line = FakeSubscriber()
    driver = opened(line)
    for i in range(MOST_WAITING + 5):
        line.publish(TOPIC, b'{"temperature": %d, "air": {"humidity": 2}}' % i)
    batch = driver.read(0.0)
    assert (len(batch.samples), batch.lost) == (MOST_WAITING, 5)
    assert batch.samples[0].values[0] == 5


def test_closing_ends_the_subscription_and_a_line_that_is_down_is_an_error() -> None:
    line = FakeSubscriber()
    driver = opened(line)
    driver.close()
    driver.close()
    line.publish(TOPIC, b"{}")
    assert driver.read(0.0).samples == ()
    line.online = False
    with pytest.raises(SensorError):
        driver.open()


def test_a_topic_without_channels_or_with_an_empty_period_is_refused() -> None:
    with pytest.raises(ConfigError, match="channels"):
        MqttTopic(FakeSubscriber(), TOPIC, {})
    with pytest.raises(ConfigError, match="every_s"):
        MqttTopic(FakeSubscriber(), TOPIC, {"t": "t"}, every_s=0)
