"""What is said of a model's updates: on the state topic, by `edgeml update status`, to Python."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeml.errors import UpdateError
from edgeml.ota.journal import Journal
from edgeml.ota.parcel import chunks_here
from edgeml.ota.states import State
from edgeml.ota.store import JOURNAL


def standing_of(journal: Journal, group: str, here: tuple[int, int] | None) -> dict[str, Any]:
    """The `update` object: JSON values.

    Args:
        journal: of the model's store.
        group: the device's.
        here: bytes of the candidate that have come, of how many; None where none is fetched.
    """
    trying = journal.candidate or journal.current
    on_probation = journal.state in (State.PROBATION, State.ROLLING_BACK)
    reasons = list(journal.bad.values())
    installed = journal.previous if on_probation else journal.current
    fetching = journal.state is State.FETCHING and here is not None and here[1] > 0
    return {
        "state": journal.state.value,
        "release": None if trying is None else trying.release,
        "group": group,
        "installed": None if installed is None else installed.release,
        "previous": None if journal.previous is None else journal.previous.release,
        "bad": list(journal.bad),
        "reason": reasons[-1] if reasons else None,
        "pinned": journal.pinned,
        "fraction": round(here[0] / here[1], 3) if fetching and here else None,
        "bytes": here[0] if fetching and here else None,
    }


def stored_standings(folder: Path, group: str) -> Mapping[str, dict[str, Any]]:
    """What a device's folder says of each model, whoever uses it at the moment.

    Raises:
        UpdateError: it cannot be read.
    """
    found = {}
    try:
        for path in sorted(folder.glob(f"*/{JOURNAL}")):
            journal = Journal.parse(path.read_bytes())
            coming = journal.candidate
            here = None if coming is None else chunks_here(path.parent, coming)
            standing = standing_of(journal, group, here)
            found[path.parent.name] = {**standing, "bytes": None}
    except OSError as exc:
        raise UpdateError(f"{folder} cannot be read ({exc.strerror or exc})") from exc
    return found
