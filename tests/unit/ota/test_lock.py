"""The lock of a folder that another user may write to."""

import os
from pathlib import Path

import pytest

from edgeml.errors import UpdateError
from edgeml.ota.lock import FolderLock, holder_of, is_held


def test_one_holds_a_folder_and_the_next_is_told_who(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "updates")
    with pytest.raises(UpdateError, match=f"is used by process {os.getpid()}"):
        FolderLock(tmp_path / "updates")
    assert is_held(tmp_path / "updates")
    lock.release()
    assert not is_held(tmp_path / "updates")


def test_a_lock_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    """As where a service that was taken over waits for `sudo edgeml update`."""
    victim = tmp_path / "passwd"
    victim.write_text("root:x:0:0::/root:/bin/bash\n")
    (tmp_path / "lock").symlink_to(victim)
    with pytest.raises(UpdateError, match="cannot be written"):
        FolderLock(tmp_path)
    assert victim.read_text().startswith("root:x:")
    assert (holder_of(tmp_path), is_held(tmp_path)) == (None, False)


def test_a_pipe_in_a_locks_place_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    assert (holder_of(tmp_path), is_held(tmp_path)) == (None, False)
