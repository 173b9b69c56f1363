"""Recognise a movement from an MPU-6050 on a Raspberry Pi's I2C bus 1."""

from edgeml import Device
from edgeml.sensors import Mpu6050, Sensor

with Device("wrist-1", model="models/activity/activity.tflite") as device:
    for result in device.run(Sensor(Mpu6050(bus=1, rate_hz=10))):
        print(result.label, round(result.score, 2))
