"""The same device, delivering: the loop is unchanged, and never waits for the broker."""

import os

from edgeml import Device, Mqtt
from edgeml.sensors import Replay

sync = Mqtt(os.environ.get("BROKER", "mqtt://localhost"), fleet="plant-a")
with Device("pump-7", model="models/activity/activity.tflite", sync=sync) as device:
    for result in device.run(Replay("examples/walk.csv")):
        print(result.label, round(result.score, 2))
    print("delivered" if device.wait_delivered(timeout_s=10) else "waiting in the outbox")
