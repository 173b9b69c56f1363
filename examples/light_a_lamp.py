"""Something moves when a label begins and when it ends, and does not flicker in between."""

from edgeml import Device
from edgeml.sensors import Replay

with Device("pump-7", model="models/activity/activity.tflite") as device:
    device.on(
        "walking",
        lambda result: print(f"lamp on at {result.start_s:.0f}"),  # gpiozero: led.on()
        ended=lambda result: print(f"lamp off at {result.start_s:.0f}"),
        windows=2,
    )
    for _ in device.run(Replay("edgeml/demo/data/recordings.npz", start_s=0)):
        pass
