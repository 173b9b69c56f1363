"""Where samples come from: a source is any iterable of samples, one driver a file.

Nothing here is imported before it is used, and a driver's library not before
the driver opens its sensor.
"""

from typing import TYPE_CHECKING

from edgeml.lazy import lazily

if TYPE_CHECKING:
    from edgeml.sensors.camera import Camera as Camera
    from edgeml.sensors.driver import Batch as Batch
    from edgeml.sensors.driver import Driver as Driver
    from edgeml.sensors.duty import Duty as Duty
    from edgeml.sensors.duty import DutyLimits as DutyLimits
    from edgeml.sensors.duty import DutyReading as DutyReading
    from edgeml.sensors.duty import next_duty as next_duty
    from edgeml.sensors.dutycontrol import DutyHealth as DutyHealth
    from edgeml.sensors.iio_buffered import IioBuffered as IioBuffered
    from edgeml.sensors.iio_polled import IioPolled as IioPolled
    from edgeml.sensors.limits import Limits as Limits
    from edgeml.sensors.live import Live as Live
    from edgeml.sensors.live import LiveHealth as LiveHealth
    from edgeml.sensors.live import queue_capacity as queue_capacity
    from edgeml.sensors.microphone import Microphone as Microphone
    from edgeml.sensors.mpu6050 import Mpu6050 as Mpu6050
    from edgeml.sensors.mqtt_topic import MqttTopic as MqttTopic
    from edgeml.sensors.mqtt_topic import Subscriber as Subscriber
    from edgeml.sensors.replay import Replay as Replay
    from edgeml.sensors.sample import Block as Block
    from edgeml.sensors.sample import Sample as Sample
    from edgeml.sensors.sample import Source as Source
    from edgeml.sensors.sample import Window as Window
    from edgeml.sensors.sensor import Patience as Patience
    from edgeml.sensors.sensor import Sensor as Sensor
    from edgeml.sensors.sensor import SourceHealth as SourceHealth
    from edgeml.sensors.sensor import SourceState as SourceState
    from edgeml.sensors.serial_lines import SerialLines as SerialLines
    from edgeml.sensors.system import System as System
    from edgeml.sensors.window import Windower as Windower
    from edgeml.sensors.window import WindowStats as WindowStats

_HOMES = {
    "Batch": "driver",
    "Block": "sample",
    "Camera": "camera",
    "Driver": "driver",
    "Duty": "duty",
    "DutyHealth": "dutycontrol",
    "DutyLimits": "duty",
    "DutyReading": "duty",
    "IioBuffered": "iio_buffered",
    "IioPolled": "iio_polled",
    "Limits": "limits",
    "Live": "live",
    "LiveHealth": "live",
    "Microphone": "microphone",
    "Mpu6050": "mpu6050",
    "MqttTopic": "mqtt_topic",
    "Patience": "sensor",
    "Replay": "replay",
    "Sample": "sample",
    "Sensor": "sensor",
    "SerialLines": "serial_lines",
    "Source": "sample",
    "SourceHealth": "sensor",
    "SourceState": "sensor",
    "Subscriber": "mqtt_topic",
    "System": "system",
    "Window": "sample",
    "WindowStats": "window",
    "Windower": "window",
    "next_duty": "duty",
    "queue_capacity": "live",
}

__all__ = list(_HOMES)

__getattr__ = lazily(__name__, {name: f"{__name__}.{home}" for name, home in _HOMES.items()})


def __dir__() -> list[str]:
    return sorted(__all__)
