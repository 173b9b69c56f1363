"""Take a signed release in the midst of a loop: proven on this machine, swapped between windows."""

import sys

from edgeml import Device, Updates
from edgeml.sensors import Replay

root, published, state = sys.argv[1:]  # 1.root.json, the published folder, where to keep models
updates = Updates(root, folder=published, state=state, slower=100.0)  # on a device leave 2.0
with Device("pump-7", model="models/activity/activity.tflite", updates=updates) as device:
    for result in device.run(Replay("examples/walk.csv", speed=20.0, repeat=10_000)):
        if result.model.version > 1:
            break
print(f"{result.label} by {result.model.name}-{result.model.version}")
