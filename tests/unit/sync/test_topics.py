"""Topics carry only ids that every broker can carry, and are read back strictly."""

import pytest

from edgeml.errors import ConfigError, ProtocolError
from edgeml.fleet import addresses
from edgeml.sync import topics


def test_a_topic_is_read_back_as_it_was_made() -> None:
    topic = topics.device_topic("plant-a", "pump_7", topics.RESULTS)
    assert topic == "edgeml/1/plant-a/d/pump_7/results"
    assert addresses.parse(topic) == addresses.Address("plant-a", "pump_7", "results")


@pytest.mark.parametrize("bad", ["", "a/b", "a+", "#", "a.b", "a b", "ü", "x" * 65, "$SYS"])
def test_an_id_that_breaks_a_topic_is_refused(bad: str) -> None:
    with pytest.raises(ConfigError, match="cannot stand in a topic"):
        topics.checked_id(bad, "device id")


@pytest.mark.parametrize(
    "topic",
    ["", "edgeml", "edgeml/2/f/d/x/results", "edgeml/1/f/d/x", "edgeml/1/f/x/y/results",
     "edgeml/1/f/d/x/nonsense", "edgeml/1/f/d/x/results/more",
     "edgeml/1/f/d//results", "other/1/f/d/x/ack"],
)  # fmt: skip
def test_a_foreign_topic_is_refused(topic: str) -> None:
    with pytest.raises(ProtocolError):
        addresses.parse(topic)


def test_what_goes_to_everybody_has_a_topic_and_so_has_a_wish() -> None:
    digest = "0f" * 32
    assert topics.published("plant-a", "tuf/timestamp") == "edgeml/1/plant-a/tuf/timestamp"
    assert topics.want("plant-a", digest) == f"edgeml/1/plant-a/want/{digest}"
    assert addresses.parse_want(topics.want("plant-a", digest)) == digest


@pytest.mark.parametrize(
    "topic",
    ["", "edgeml/1/f/want", "edgeml/1/f/want/x", "edgeml/1/f/c/" + "0" * 64,
     "edgeml/2/f/want/" + "0" * 64, "edgeml/1/f/want/" + "0" * 64 + "/x", "edgeml/1/f/want/+"],
)  # fmt: skip
def test_what_is_no_wish_is_refused(topic: str) -> None:
    with pytest.raises(ProtocolError):
        addresses.parse_want(topic)
