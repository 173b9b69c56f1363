"""Does what somebody asks of one model's updates, by `edgeml update` or from Python."""

from typing import Any

from edgeml.errors import UpdateError
from edgeml.ota.mailbox import VERBS, Request
from edgeml.ota.store import Store
from edgeml.ota.updater import Updater


def carry_out(request: Request, updater: Updater, store: Store) -> dict[str, Any]:
    """Do what somebody asks of one model.

    Raises:
        UpdateError: it cannot be done.
    """
    if request.verb == "rollback":
        updater.roll_back("by hand: somebody asked for it")
        return {}
    if request.verb == "unpin":
        store.change(pinned=None)
        return {}
    if request.verb == "pin":
        store.change(pinned=request.release or "")
        updater.check_now()
        return {}
    decision = updater.look()
    offer = updater.offer
    offered = None if offer is None else offer.rule.release
    said = {
        "offered": offered,
        "may": "nothing" if decision is None else type(decision).__name__.lower(),
        "why": getattr(decision, "reason", ""),
    }
    if request.verb == "check":
        return said
    if request.verb != "apply":
        raise UpdateError(f"{request.verb!r} is none of {', '.join(VERBS)}")
    if request.release not in (None, offered):
        raise UpdateError(f"{request.release} is not offered; what is offered is {offered}")
    updater.apply()
    return said
