"""How far a download is stands in the device's retained state, for whoever looks from outside."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgeml import Device, Mqtt
from edgeml.fleet import addresses
from edgeml.fleet.localbroker import LocalBroker
from edgeml.ota.transport import Folder
from edgeml.ota.trust import Trust
from edgeml.releases.names import file_name
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.line import Received
from edgeml.sync.link import Link
from tests.waiting import until

from .publisher import ACTIVITY, Publisher, getter
from .test_device_updates import updates

FLEET = "plant"


def test_the_state_topic_says_how_much_of_a_release_is_here(
    tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of this release the factory's bundle has all but a chunk, and that one cannot be had."""
    index = Trust(tmp_path / "trust-of-the-test", publisher.root).index(
        getter(publisher.out), "activity-2"
    )
    for digest in {chunk.digest for chunk in index.chunks}:
        (publisher.out / file_name(digest)).unlink()
    monkeypatch.setattr("edgeml.updating.transports_of", lambda *_: [Folder(publisher.out)])
    said: list[dict[str, Any]] = []
    with LocalBroker() as broker:
        link = Link(
            Connection(broker.url), "ear", lambda _: (addresses.every_device(FLEET, topics.STATE),)
        )
        link.open()

        def hears(state: str) -> bool:
            came = [event for event in link.step(0.05) if isinstance(event, Received)]
            said.extend(json.loads(event.payload).get("update") or {} for event in came)
            return any(one.get("state") == state and one.get("bytes") for one in said)

        sync = Mqtt(broker.url, FLEET, outbox=tmp_path / "outbox.db", ack="broker")
        with Device("pump-7", model=ACTIVITY, sync=sync, updates=updates(tmp_path, publisher)):
            until(lambda: hears("fetching"))
        link.close()
    here = next(one for one in reversed(said) if one.get("bytes"))
    assert here["release"] == "activity-2"
    assert 0 < here["bytes"] < index.bundle_bytes
    assert here["fraction"] == round(here["bytes"] / index.bundle_bytes, 3)
