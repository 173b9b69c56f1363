"""What an ingest says to a device, written; a device reads it in `edgeml.sync.messages`."""

from edgeml.sync.messages import MAX_RANGES, Ack, Receipt, Refusal
from edgeml.sync.spans import Spans
from edgeml.sync.wire import VERSION, dump


def encode_answer(answer: Ack | Refusal | Receipt) -> bytes:
    """The message's bytes."""
    said: dict[str, object]
    if isinstance(answer, Ack):
        said = {
            "outbox": answer.outbox,
            "seq": answer.mark,
            "above": [list(r) for r in answer.above.ranges[:MAX_RANGES]],
            "ingest": answer.ingest,
            "greeting": answer.greeting,
        }
    elif isinstance(answer, Refusal):
        said = {"refused": answer.digest, "reason": answer.reason, "ingest": answer.ingest}
    else:
        said = {"stored": list(answer.digests), "ingest": answer.ingest}
    return dump({"v": VERSION, **said})


def exceeds_ack(above: Spans) -> bool:
    """Whether there are more ranges than an `Ack` names."""
    return len(above.ranges) > MAX_RANGES
