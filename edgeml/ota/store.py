"""The device's models on its disk, and the journal that says which one serves.

    journal.json             replaced whole; what it does not name does not count
    models/SHA256.tflite     at most the one that serves, the one before and a candidate
    models/SHA256.index      which chunks it is made of, to take from it what stayed the same
    part/RELEASE.tflite      what is being fetched, with RELEASE.map, a bit for each chunk

A model's file and its folder are on the medium before the journal names it, so
after a power cut at any moment the journal names whole files only. They are
still hashed at every start, since a card can rot: what does not match is never
loaded, and the one before it, at last the factory's, serves instead.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace as changed
from pathlib import Path
from typing import Any, Final

from edgeml.errors import UpdateError
from edgeml.ota.disk import Disk, SystemDisk, replace
from edgeml.ota.journal import NO_REASON, Held, Journal, Why
from edgeml.ota.probation import Incumbent
from edgeml.ota.states import Event, State
from edgeml.releases.chunk import digest_of
from edgeml.releases.index import ReleaseIndex

RESERVE_BYTES: Final = 4 << 20
"""That an update leaves free: the outbox and the system live on the same card."""

JOURNAL: Final = "journal.json"
_MODELS: Final = "models"
_PARTS: Final = "part"

Report = Callable[[str], None]

log: Final = logging.getLogger("edgeml.updates")


def part_path(folder: Path, release: str) -> Path:
    """Where a bundle is put together in a store's folder."""
    return folder / _PARTS / f"{release}.tflite"


class Store:
    """What a device has, opened by one process.

    Args:
        folder: the store's; made if it is not there.
        disk: the file operations; the machine's own by default.
        report: told in plain words of what was found damaged.

    Raises:
        UpdateError: the folder cannot be made or written.
    """

    def __init__(
        self, folder: Path, disk: Disk | None = None, report: Report = lambda _: None
    ) -> None:
        self.folder = folder
        self.disk: Disk = SystemDisk() if disk is None else disk
        self._report = report
        self._counted = self._starting = False
        self._turn = threading.RLock()
        try:
            for part in (folder, folder / _MODELS, folder / _PARTS):
                self.disk.make_folder(part)
            self.journal = self._read_journal()
            with self.starting():
                self._recover()
        except OSError as exc:
            raise _unusable(folder, exc) from exc

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """What the disk does not take meanwhile holds in memory: no start fails for it."""
        self._starting = True
        try:
            yield
        finally:
            self._starting = False

    @property
    def current(self) -> Path | None:
        """The bundle that serves, verified when the store was opened; None for the factory's."""
        held = self.journal.current
        return None if held is None else self.path_of(held)

    @property
    def candidate(self) -> Path | None:
        """The bundle that is being tried, once it is whole."""
        held = self.journal.candidate
        return self.path_of(held) if held is not None and self._whole(held) else None

    def path_of(self, held: Held) -> Path:
        """Where a bundle is."""
        return self.folder / _MODELS / f"{held.digest}.tflite"

    def part_of(self, release: str) -> Path:
        """Where a bundle is put together."""
        return part_path(self.folder, release)

    def index_of(self, held: Held) -> ReleaseIndex | None:
        """Which chunks a bundle is made of; None where that is not known."""
        data = self.disk.read(self.path_of(held).with_suffix(".index"))
        try:
            return None if data is None else ReleaseIndex.parse(data)
        except UpdateError:
            return None

    def step(self, event: Event, why: Why = NO_REASON, **changes: Any) -> None:
        """Go one step in the table of states; durable when this returns.

        Raises:
            UpdateError: there is no such step, or the disk does not take it.
        """
        with self._turn:
            self._write(self.journal.after(event, why, **changes))

    def change(self, **changes: Any) -> None:
        """Change what is no step: the floor, the pin, a count."""
        with self._turn:
            after = changed(self.journal, **changes)
            if after != self.journal:
                self._write(after)

    def check_room(self, needed_bytes: int) -> None:
        """Object before anything is touched.

        Raises:
            UpdateError: so much does not fit beside the reserve.
        """
        free = self.disk.free_bytes(self.folder)
        if free < needed_bytes + RESERVE_BYTES:
            raise UpdateError(
                f"disk: {self.folder} has {free:,} bytes free and the update needs "
                f"{needed_bytes + RESERVE_BYTES:,}; remove something, the incumbent is untouched"
            )

    def activate(self, incumbent: Incumbent | None = None, why: Why = NO_REASON) -> None:
        """Let the candidate serve from the next start on, on probation; one rename decides.

        Args:
            incumbent: how the model did that it replaces, to be held against it.
            why: as its event says it.

        Raises:
            UpdateError: there is no whole candidate.
        """
        held = self.journal.candidate
        if held is None or not self._whole(held):
            raise UpdateError("there is no candidate that could be activated; fetch it again")
        self.step(
            Event.ACTIVATED,
            why,
            current=held,
            previous=self.journal.current,
            candidate=None,
            starts=0,
            tries=0,
            incumbent=Incumbent() if incumbent is None else incumbent,
        )

    def started(self) -> int:
        """Count a start of the process on probation, before the model is loaded.

        Returns:
            How often it has started with this model, this time included; 0 when not on probation.
        """
        if self.journal.state is not State.PROBATION:
            return 0
        self._counted = True
        self.change(starts=self.journal.starts + 1)
        return self.journal.starts

    def stopped(self, *, wished: bool = True) -> None:
        """The process ends in order: what it counted says nothing of the model. From any thread.

        Args:
            wished: by somebody; a start that ends otherwise speaks against a model on probation.
        """
        with self._turn:
            counted, self._counted = self._counted, False
            if counted and wished and self.journal.state is State.PROBATION:
                self.change(starts=max(self.journal.starts - 1, 0))
            elif counted and self.journal.state in (State.PROBING, State.SHADOWING):
                self.change(tries=max(self.journal.tries - 1, 0))

    def tried(self) -> int:
        """Count an attempt to probe the candidate, before it begins: it may take the machine down.

        Returns:
            How often it was tried, this time included.
        """
        self._counted = True
        self.change(tries=self.journal.tries + 1)
        return self.journal.tries

    def commit(self) -> None:
        """The current model has shown itself; its predecessor is kept for going back."""
        self.step(Event.HEALTHY, starts=0, incumbent=Incumbent())
        self._collect()

    def roll_back(self, reason: str, event: Event = Event.UNHEALTHY) -> Held | None:
        """Go back to the model before, and never try this one again; what was cut off is finished.

        Args:
            reason: why, for the event and for a person.
            event: what the table calls it.

        Returns:
            What was undone.
        """
        with self._turn:
            undone = self.journal.current
            if undone is None:
                return None
            if self.journal.state is not State.ROLLING_BACK:
                bad = self.journal.with_bad(undone.release, reason)
                self._write(bad.after(event, (reason, {})))
            self._finish_rolling_back()
            return undone

    def abandon(self, event: Event, why: Why = NO_REASON, *, for_good: bool = False) -> None:
        """Give the candidate up, for this time or for good on this device."""
        with self._turn:
            held = self.journal.candidate
            journal = self.journal
            if held is not None and for_good:
                journal = journal.with_bad(held.release, why[0])
            self._write(journal.after(event, why, candidate=None, tries=0))
        self._collect()

    def _read_journal(self) -> Journal:
        path = self.folder / JOURNAL
        data = self.disk.read(path)
        if data is None:
            return Journal()
        try:
            return Journal.parse(data)
        except UpdateError as exc:
            self.disk.rename(path, path.with_name("journal.damaged"))
            self.disk.sync_folder(self.folder)
            self._report(f"{exc}; set aside as journal.damaged, the factory's model serves")
            return Journal()

    def _recover(self) -> None:
        """Make the journal true again: what it names is whole, and no step is half done."""
        if self.journal.state is State.ROLLING_BACK:
            undone = self.journal.current
            self._finish_rolling_back()
            if undone is not None:
                self._report(f"the way back from {undone.release} was cut off; it is finished now")
        journal = self.journal
        for held in (journal.current, journal.previous):
            if held is not None and not self._whole(held):
                self._report(f"{held.release} is damaged on this disk; it is not used")
        current, previous = (
            held if held is not None and self._whole(held) else None
            for held in (journal.current, journal.previous)
        )
        if current is None:
            current, previous = previous, None
        sound = changed(journal, current=current, previous=previous)
        if current != journal.current and journal.state is State.PROBATION:
            sound = changed(sound, state=State.IDLE, starts=0)
        trying = journal.state in (State.PROBING, State.SHADOWING)
        if trying and not (journal.candidate and self._whole(journal.candidate)):
            sound = changed(sound, state=State.IDLE, candidate=None, tries=0)
        elif journal.state is State.SHADOWING:
            # What was seen in the shadow was not kept: it is tried again from the probe on.
            sound = changed(sound, state=State.PROBING)
        if sound != journal:
            self._write(sound)
        self._collect()

    def _finish_rolling_back(self) -> None:
        back = self.journal.previous
        self.step(
            Event.ROLLED_BACK,
            current=back,
            previous=None,
            candidate=None,
            starts=0,
            incumbent=Incumbent(),
        )
        self._collect()

    def _whole(self, held: Held) -> bool:
        try:
            data = self.disk.read(self.path_of(held))
        except OSError as exc:
            log.warning("%s cannot be read: %s", held.release, exc)
            return False
        return data is not None and digest_of(data) == held.digest

    def _write(self, journal: Journal) -> None:
        try:
            replace(self.disk, self.folder / JOURNAL, journal.encode())
        except OSError as exc:
            if not self._starting:
                raise _unusable(self.folder, exc) from exc
            log.warning("%s", _unusable(self.folder, exc))
        self.journal = journal

    def _collect(self) -> None:
        """Remove what the journal does not name; what cannot be removed now can be later."""
        journal = self.journal
        held = {one.digest for one in (journal.current, journal.previous, journal.candidate) if one}
        coming = "" if journal.candidate is None else journal.candidate.release
        try:
            for folder, kept in ((_MODELS, held), (_PARTS, {coming})):
                for name in self.disk.names(self.folder / folder):
                    if name.partition(".")[0] not in kept:
                        self.disk.remove(self.folder / folder / name)
        except OSError as exc:
            log.warning("%s", _unusable(self.folder, exc))


def _unusable(folder: Path, exc: OSError) -> UpdateError:
    return UpdateError(f"disk: {folder} cannot be written ({exc.strerror or exc})")
