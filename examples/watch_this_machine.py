"""The sensor that every machine has: itself."""

from edgeml.sensors import Sensor, System

machine = System(rate_hz=10)
print(machine.channel_names)
for sample in Sensor(machine):
    print(sample.values)
