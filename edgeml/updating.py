"""Updates composed with a device: what starts, what serves, and the thread that looks for more.

The device's models are the factory's. What was installed since is in a folder
beside the outbox, and is what starts. The updates' thread does all the slow
work; the loop is asked for two assignments a window.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edgeml.clock import Clock
from edgeml.errors import ConfigError
from edgeml.lane import Cascade, Lane, ModelLike
from edgeml.ota.mqtt import Broker, Shelf
from edgeml.ota.settings import Updates
from edgeml.ota.transport import Folder, Http, Transport
from edgeml.ota.trustprocess import TrustProcess
from edgeml.ota.updater import Updater
from edgeml.result import Result
from edgeml.runtime.model import Model
from edgeml.updatesite import Observer, Site

log: Final = logging.getLogger("edgeml.updates")

_TURN_S: Final = 1.0
_JOIN_S: Final = 5.0


class Updating:
    """Every model's updates on one device, and the thread that they live in.

    Args:
        device: the device's id.
        settings: the policy.
        folder: where models and metadata are kept.
        clock: the time.
        shelf: the published files at the broker; None without one.

    Raises:
        ConfigError: no way to published files was named, or the root cannot be read.
        UpdateError: the folder cannot be used, or the root is none.
    """

    def __init__(
        self,
        device: str,
        settings: Updates,
        folder: Path,
        clock: Clock,
        shelf: Shelf | None = None,
    ) -> None:
        self._device = device
        self._settings = settings
        self._folder = folder
        self._clock = clock
        self._root = settings.read_root()
        self._transports = _transports(settings, clock, shelf)
        self._sites: dict[str, Site] = {}
        self._updaters: list[tuple[Site, Updater]] = []
        self.observers: list[Observer] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgeml-updates", daemon=True)

    def resolve(self, what: ModelLike | Cascade) -> ModelLike | Cascade:
        """What to load instead of the factory's.

        Raises:
            ConfigError: the model was loaded already, or two have one name.
        """
        if isinstance(what, Cascade):
            return Cascade(self._resolve(what.gate), self._resolve(what.then), what.when)
        return self._resolve(what)

    def _resolve(self, what: ModelLike) -> ModelLike:
        if isinstance(what, Model):
            raise ConfigError(
                f"updates: {what.ref.name} was given loaded; give its file or its bytes, so that "
                "the device can go back to it and close it"
            )
        site = Site(what, self._folder, self._settings)
        if site.name in self._sites:
            raise ConfigError(
                f"two models are called {site.name}; updates could not tell them apart"
            )
        self._sites[site.name] = site
        return site.starts_with()

    def start(self, lanes: Sequence[Lane]) -> None:
        """Begin to look for updates of the models in these lanes."""
        trust = TrustProcess(self._folder / "trust", self._root)
        for lane in lanes:
            for model in lane.models:
                site = self._sites.get(model.ref.name)
                if site is not None:
                    site.attach(lane, self.observers)
                    self._updaters.append((site, self._updater(site, trust)))
        self._thread.start()

    def observe(self, result: Result) -> None:
        """Take a result into account; from the loop."""
        site = self._sites.get(result.model.name)
        if site is not None:
            site.observe(result)

    def standing(self) -> Mapping[str, Any] | None:
        """What the state topic says: the first model's updates; None without one."""
        first = next(iter(self._sites.values()), None)
        return None if first is None else first.standing(self._settings.group)

    def agree(self, release: str) -> None:
        """Let a release that waits be installed.

        Raises:
            UpdateError: it does not wait.
        """
        for _, updater in self._updaters:
            if updater.waiting_for is not None or len(self._updaters) == 1:
                updater.agree(release)

    def check_now(self) -> None:
        """Look at what is offered at once."""
        for _, updater in self._updaters:
            updater.check_now()

    def close(self) -> None:
        """End the thread; what was under way goes on with the next start."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)

    def _updater(self, site: Site, trust: Any) -> Updater:
        return Updater(
            site.name,
            self._device,
            self._settings,
            site.store,
            trust,
            self._transports,
            site,
            self._clock,
        )

    def _run(self) -> None:
        while not self._over.wait(_TURN_S):
            for site, updater in self._updaters:
                self._turn(site, updater)

    def _turn(self, site: Site, updater: Updater) -> None:
        try:
            updater.judge(site.verdict, passed=site.passed)
            site.settle()
            updater.turn()
        except Exception:
            # This thread must outlive what nobody thought of: a device without it would
            # serve the same model for ever.
            log.exception("%s: the updates go on after an error", site.name)


def _transports(settings: Updates, clock: Clock, shelf: Shelf | None) -> list[Transport]:
    """The cheapest first: a stick costs nothing, a broker is there anyway."""
    found: list[Transport] = []
    if settings.folder is not None:
        found.append(Folder(Path(settings.folder)))
    rate = settings.max_bytes_per_s
    if shelf is not None:
        found.append(Broker(shelf, clock, max_bytes_per_s=rate))
    if settings.http is not None:
        found.append(Http(settings.http, max_bytes_per_s=rate))
    if not found:
        raise ConfigError("updates: name where they come from: sync=…, http=… or folder=…")
    return found
