"""Readings of a microcontroller that prints x,y,z on a serial line, and how the line is."""

import sys

from edgeml.sensors import Sensor, SerialLines

port = sys.argv[1] if len(sys.argv) > 1 else "/dev/ttyACM0"
board = Sensor(SerialLines(port, ["x", "y", "z"], rate_hz=100))
for sample in board:
    print(sample.values, board.health().state.value, board.health().malformed)
