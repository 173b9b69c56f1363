"""What the tests of updates share: a release for everybody, and a device that may take it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .fakedevice import FakeDevice, Site
    from .publisher import Publisher


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    """Offers activity-2 to every device; its root is beside the test's files."""
    from .publisher import Publisher  # only where it is asked for

    made = Publisher(tmp_path)
    made.offer(2)
    (tmp_path / "root.json").write_bytes(made.root)
    return made


@pytest.fixture
def device() -> FakeDevice:
    from .fakedevice import FakeDevice

    return FakeDevice()


@pytest.fixture
def site(tmp_path: Path, publisher: Publisher, device: FakeDevice) -> Site:
    from .fakedevice import Site

    return Site(tmp_path, publisher, device)
