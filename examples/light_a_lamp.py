"""A lamp is lit while somebody walks; without a Pi: GPIOZERO_PIN_FACTORY=mock."""

from gpiozero import LED

from edgeml import Device
from edgeml.sensors import Replay

lamp = LED(17)
with Device("pump-7", model="models/activity/activity.tflite") as device:
    device.on("walking", lambda _: lamp.on(), ended=lambda _: lamp.off(), windows=2)
    for result in device.run(Replay("edgeml/demo/data/recordings.npz", start_s=0)):
        print(result.label, "lit" if lamp.is_lit else "dark")
