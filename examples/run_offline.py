"""A device without a network: samples in, results out."""

from edgeml import Device
from edgeml.sensors import Replay

with Device("pump-7", model="models/activity/activity.tflite") as device:
    for result in device.run(Replay("examples/walk.csv")):
        print(result.label, round(result.score, 2))
