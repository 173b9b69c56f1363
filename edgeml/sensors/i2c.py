"""The I2C bus as the drivers see it: registers of a device at an address."""

from typing import Final, Protocol

from edgeml.errors import SensorError
from edgeml.sensors.needs import needed

BLOCK_BYTES: Final = 32
"""The most that one SMBus block read brings."""


class Bus(Protocol):
    """What drivers need of a bus: the part of smbus2's `SMBus` that they call."""

    def read_byte_data(self, i2c_addr: int, register: int) -> int:
        """One register.

        Raises:
            OSError: no device answers there.
        """
        ...

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Set one register.

        Raises:
            OSError: no device answers there.
        """
        ...

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        """Up to `BLOCK_BYTES` registers from this one on.

        Raises:
            OSError: no device answers there.
        """
        ...

    def close(self) -> None:
        """Let go of the bus."""
        ...


def open_bus(number: int) -> Bus:
    """The machine's I2C bus of this number; a Pi's header has number 1.

    Raises:
        SensorError: there is no such bus, or it may not be opened.
        MissingDependencyError: smbus2 is not installed.
    """
    smbus2 = needed("smbus2", f"I2C bus {number}")
    try:
        bus: Bus = smbus2.SMBus(number)
    except FileNotFoundError as exc:
        raise SensorError(
            f"there is no I2C bus {number}; on a Raspberry Pi: sudo raspi-config nonint do_i2c 0"
        ) from exc
    except PermissionError as exc:
        raise SensorError(
            f"I2C bus {number} may not be opened; be in its group: sudo usermod -aG i2c $USER"
        ) from exc
    return bus
