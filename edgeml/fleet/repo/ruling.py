"""The repository as a rollout's conductor sees it: one rule, written and published at once."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgeml.clock import Clock, SystemClock
from edgeml.errors import LinkError
from edgeml.fleet.repo import contents
from edgeml.fleet.repo.ledger import Ledger
from edgeml.fleet.repo.publish import Outgoing, Record, to_folder
from edgeml.fleet.repo.repository import Repository, unknown
from edgeml.fleet.repo.seed import Seeder
from edgeml.releases.names import parse_release_id
from edgeml.releases.rollout import Rule
from edgeml.sync.connection import Connection

_HALT_ATTEMPTS: Final = 5


@dataclass(slots=True)
class RepositoryRuling:
    """One model's rule in one group.

    Attributes:
        repository: where it stands.
        release: the release that is let in.
        group: the group.
        connection: the broker to publish at.
        fleet: whose devices.
        folder: a web root to publish in, too; None for none.
        spread_s: the downloads of a stage are spread over so long.
        hours: the hours of the day in which devices install.
        expires_s: a rule that is not lasting ends after so long.
        lasting_s: how long the last rule holds, which `refresh` renews.
    """

    repository: Repository
    release: str
    group: str
    connection: Connection
    fleet: str
    folder: Path | None = None
    spread_s: int = 0
    hours: tuple[int, int] | None = None
    expires_s: int = 7200
    lasting_s: int = 86_400
    clock: Clock = field(default_factory=SystemClock)

    def check(self) -> None:
        """That there is such a release to let in, before anybody is connected to.

        Raises:
            UpdateError: there is no repository, or no such release in it.
        """
        self.repository.folder.check()
        if self.release not in contents.releases(Ledger.read(self.repository.folder)):
            raise unknown(self.release)

    def read(self) -> Rule | None:
        """The rule that holds for the release's model in the group."""
        # Not locked: what a command writes last is what makes the rest count.
        ledger = Ledger.read(self.repository.folder)
        return contents.rules(ledger).get((self.group, parse_release_id(self.release)[0]))

    def let(self, upto: int, *, lasting: bool) -> None:
        """Let so many buckets have the release, and publish that; `lasting`: for `refresh`."""
        self.repository.rollout(
            self.release,
            upto,
            group=self.group,
            spread_s=self.spread_s,
            hours=self.hours,
            expires_s=self.lasting_s if lasting else self.expires_s,
            renew=lasting,
        )
        self.publish()

    def halt(self) -> None:
        """Let nobody further have it, and publish that.

        Raises:
            LinkError: it is halted here, but the broker could not be told.
        """
        self.repository.halt(self.release, self.group)
        for _ in range(_HALT_ATTEMPTS - 1):
            with contextlib.suppress(LinkError):
                self.publish()
                return
        try:
            self.publish()
        except LinkError as exc:
            root = self.repository.folder.root
            raise LinkError(
                f"{exc}; {self.release} is halted in {root}, of which no device has heard yet: "
                f"edgeml repo publish {root} --broker URL"
            ) from exc

    def publish(self) -> None:
        """Send what changed."""
        with self.repository.open() as ledger:
            outgoing = Outgoing(ledger, self.clock.now_s())
            if self.folder is not None:
                to_folder(outgoing, self.folder)
            seeder = Seeder(self.connection, self.fleet)
            try:
                record = Record.of(self.repository.folder, self.connection.url, self.fleet)
                seeder.publish(outgoing, record)
            finally:
                seeder.close()
