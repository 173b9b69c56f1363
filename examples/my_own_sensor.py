"""Any iterable of samples is a sensor: here a generator that makes a wave up."""

import math

import numpy as np

from edgeml import Device
from edgeml.sensors import Sample


def waving(seconds: float) -> "list[Sample]":
    return [Sample(i / 10, np.full(6, math.sin(i), np.float32)) for i in range(int(seconds * 10))]


with Device("wrist-1", model="models/activity/activity.tflite") as device:
    print([result.label for result in device.run(waving(seconds=20))])
