"""One server of each kind for the whole suite; a test that kills it starts it again."""

from collections.abc import Iterator

import pytest

from tests.brokers.servers import NAMES, Server, serve


@pytest.fixture(scope="session", params=NAMES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serve(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running
