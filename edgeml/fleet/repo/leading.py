"""`edgeml fleet rollout`: from the options to a conductor that leads until it is told to stop."""

import sys
from argparse import Namespace

from edgeml.errors import ConfigError
from edgeml.fleet.commands import until_told_to_stop
from edgeml.fleet.conductor import Conductor, Ending
from edgeml.fleet.repo.repository import Repository
from edgeml.fleet.repo.ruling import RepositoryRuling
from edgeml.fleet.staging import Policy
from edgeml.fleet.units import hours, seconds
from edgeml.sync.connection import Connection


def lead(args: Namespace, connection: Connection) -> Ending:
    """Lead a release through its stages; what it says on the way goes to stderr.

    Raises:
        ConfigError: an option cannot be read.
        UpdateError: it was halted before, or a newer release is rolled out.
    """
    expires_s = seconds(args.expires)
    ruling = RepositoryRuling(
        Repository(args.repo),
        args.release,
        args.group,
        connection,
        args.fleet,
        folder=args.http,
        spread_s=seconds(args.spread),
        hours=None if args.hours is None else hours(args.hours),
        expires_s=expires_s,
    )
    policy = Policy(
        _stages(args.stages), args.max_failure_rate, args.confidence, seconds(args.soak)
    )
    conductor = Conductor(
        args.release, ruling, policy, connection, args.fleet, expires_s=expires_s, tell=_tell
    )
    return conductor.run(until_told_to_stop(conductor.wake))


def _tell(upto: int, reason: str) -> None:
    print(f"{upto / 100:g} %: {reason}", file=sys.stderr, flush=True)


def _stages(text: str) -> tuple[int, ...]:
    try:
        return tuple(round(float(part) * 100) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--stages is {text!r}; expected percents, as in 1,10,50,100") from None
