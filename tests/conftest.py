"""What all suites share: properties have time, and a PostgreSQL server starts when it is asked for.

An example of a property may take a second on an emulated board or a busy machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.postgres import Server

settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    from tests.postgres import Server  # a device has no psycopg

    server = Server()
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: Server) -> str:
    """An empty database."""
    return postgres_server.new_database()
