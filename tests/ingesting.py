"""An ingest in a thread of its own, for tests in which results have to arrive somewhere."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from edgeml.fleet.ingest import Ingest
from edgeml.fleet.store import Store
from edgeml.sync.connection import Connection
from tests.waiting import DEADLINE_S


@contextmanager
def ingesting(connection: Connection, store: Store, fleet: str = "plant") -> Iterator[Ingest]:
    """Until the end of the block; the store, which is the ingest's from now on, is closed then."""
    ingest = Ingest(connection, fleet, store)
    stop = threading.Event()
    thread = threading.Thread(target=ingest.run, args=(stop,))
    thread.start()
    try:
        yield ingest
    finally:
        stop.set()
        ingest.wake()
        thread.join(DEADLINE_S)
        store.close()
        assert not thread.is_alive()
