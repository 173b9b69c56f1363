"""`edgeml VERB`: finds the verb, runs it, and turns errors into exit statuses.

The verbs are a literal table; a verb's module is imported when it is called,
so that `edgeml --help` costs nothing and a device never loads what it does not
run. Other distributions add verbs through the entry point group `edgeml.verbs`.
"""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType
from typing import Final

from edgeml.errors import EdgeMLError, MissingDependencyError, nearest
from edgeml.version import __version__

USAGE_ERROR: Final = 2
INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb's one-line help and the module that has its `configure` and `run`."""

    help: str
    module: str


VERBS: Final[Mapping[str, Verb]] = {
    "demo": Verb("run the whole story on real recordings", "edgeml.cli.demo"),
    "doctor": Verb("find what is wrong with this machine, and the cure", "edgeml.cli.doctor"),
    "inspect": Verb("show what is in a bundle", "edgeml.cli.inspect"),
    "verify": Verb("test a bundle on this machine, in a process of its own", "edgeml.cli.verify"),
    "bench": Verb("measure a bundle: latency, overhead, memory, cold start", "edgeml.cli.bench"),
    "predict": Verb("run a bundle over files", "edgeml.cli.predict"),
    "run": Verb("run a device as its configuration file says", "edgeml.cli.run"),
    "update": Verb("a device's updates: status, check, apply, rollback, pin", "edgeml.cli.update"),
    "install-service": Verb("write a device's systemd unit", "edgeml.cli.install_service"),
    "fleet": Verb("the receiving end: ingest, status, export, rollout", "edgeml.cli.fleet"),
    "repo": Verb("the publisher's end: keys, signed releases, rollouts", "edgeml.cli.repo"),
    "broker": Verb("an embedded broker for demos and tests", "edgeml.cli.broker"),
    "convert": Verb("quantise a trained model into a bundle", ""),
}
"""An empty module: the verb comes from another distribution."""

PROVIDERS: Final[Mapping[str, str]] = {"convert": "edgeml-converters"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Returns:
        The exit status: 0, the `exit_code` of the error that ended the verb,
        or 2 for a command line that cannot be read.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _top_parser()
    verb = next((word for word in arguments if not word.startswith("-")), None)
    if verb is None:
        parser.parse_args(arguments)
        parser.print_help(sys.stderr)
        return USAGE_ERROR
    if verb not in VERBS:
        parser.error(f"no verb {verb!r}{nearest(verb, VERBS)}; `edgeml --help` lists them")
    try:
        module = _load(verb)
        verb_parser = argparse.ArgumentParser(
            prog=f"edgeml {verb}",
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.configure(verb_parser)
        before, after = _split_at(arguments, verb)
        top = parser.parse_args([*before, verb])
        _set_up_logging(verbose=top.verbose)
        return int(module.run(verb_parser.parse_args(after)))
    except EdgeMLError as exc:
        print(f"edgeml: {exc}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def entry_point() -> None:
    """What the `edgeml` script calls."""
    sys.exit(main())


def _top_parser() -> argparse.ArgumentParser:
    width = max(len(name) for name in VERBS)
    listing = "\n".join(f"  {name:<{width}}  {verb.help}" for name, verb in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="edgeml",
        description="Run a trained model on a Raspberry Pi or a Jetson, and keep it running.",
        epilog=f"verbs:\n{listing}\n\n`edgeml VERB --help` says more of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edgeml {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what happens, on stderr")
    parser.add_argument("verb", nargs="?", metavar="VERB", help="one of those below")
    return parser


def _split_at(arguments: list[str], verb: str) -> tuple[list[str], list[str]]:
    at = arguments.index(verb)
    return arguments[:at], arguments[at + 1 :]


def _load(verb: str) -> ModuleType:
    name = VERBS[verb].module
    if name:
        return import_module(name)
    for point in entry_points(group="edgeml.verbs"):
        if point.name == verb:
            module = point.load()
            if isinstance(module, ModuleType):
                return module
    provider = PROVIDERS[verb]
    raise MissingDependencyError(
        f"`edgeml {verb}` comes with {provider}, which is not installed; on a workstation, "
        f"install its wheel beside edgeml's: pip install {provider}-*.whl"
    )


def _set_up_logging(*, verbose: bool) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
