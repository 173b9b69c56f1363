"""What devices say of themselves, as it is read: whether they are there, and how they are."""

from collections.abc import Mapping
from typing import Any

from edgeml.errors import ProtocolError
from edgeml.jsonread import Fields
from edgeml.sync.messages import State
from edgeml.sync.wire import bounded, check_version, clean, is_finite_json, load, model_of


def parse_state(payload: bytes) -> State:
    """Read a message of the `state` topic.

    Raises:
        ProtocolError: it is not one of this version.
    """
    fields = Fields(load(payload), "state", ProtocolError, ignore_unknown=True)
    check_version(fields)
    epoch = fields.integers("epoch")
    if len(epoch) != 2:
        raise ProtocolError(f"state.epoch has {len(epoch)} numbers; it should have 2")
    model = fields.optional_child("model")
    update = fields.optional_child("update")
    return State(
        online=fields.boolean("online"),
        device=clean(fields.text("device")),
        outbox=clean(fields.text("outbox")),
        epoch=(bounded(epoch[0], "state.epoch", 0), bounded(epoch[1], "state.epoch", 0)),
        time_s=fields.number("time_s"),
        version=clean(fields.text("edgeml")),
        model=None if model is None else model_of(model),
        update=None if update is None else update.raw,
    )


def parse_health(payload: bytes) -> Mapping[str, Any]:
    """Read a message of the `health` topic; its fields are the device's own affair.

    Raises:
        ProtocolError: it is not one of this version.
    """
    fields = Fields(load(payload), "health", ProtocolError, ignore_unknown=True)
    check_version(fields)
    fields.number("time_s")
    if not is_finite_json(fields.raw):
        raise ProtocolError("health has a number beyond 64 bits")
    return fields.raw
