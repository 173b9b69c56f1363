"""An outbox on a clock of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeml.clock import ManualClock
from edgeml.sync.outbox import Outbox

from .outboxes import CAPS


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def outbox(tmp_path: Path, clock: ManualClock) -> Iterator[Outbox]:
    box = Outbox(tmp_path / "outbox.db", CAPS, clock)
    yield box
    box.close()
