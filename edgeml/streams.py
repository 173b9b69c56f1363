"""Which models see which source: every lane by its source's name, and what arrives for it.

A device with one source has one stream, whose name is empty. With a model, or
several, for each of several sources there is a stream for each.
"""

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Final, cast

from edgeml.errors import ConfigError, nearest
from edgeml.judge import Alarmed
from edgeml.lane import Cascade, Lane, ModelLike
from edgeml.result import Result
from edgeml.runtime.model import Model
from edgeml.sensors.live import Live, LiveHealth, queue_capacity
from edgeml.sensors.sample import Sample, Window
from edgeml.sensors.several import Arrival, arrivals, merged, needs_thread, together
from edgeml.sourcecheck import check_source, complain_of_nothing

Models = ModelLike | Cascade | Sequence[ModelLike | Cascade]
"""What sees one source: a model, a cascade, or several of these."""

Items = Iterable[Sample | Window]
"""A source: samples, or windows."""

IDLE_S: Final = 1.0


class Streams:
    """The lanes of a device, by the name of the source that they see.

    Args:
        models: what sees the one source, or by a source's name what sees that one.
        make: makes a lane.

    Raises:
        ConfigError: no model; or one model's name on two sources, whose results
            nothing would tell apart.
        EdgeMLError: what making a lane raises.
    """

    def __init__(
        self, models: Models | Mapping[str, Models], make: Callable[[ModelLike | Cascade], Lane]
    ) -> None:
        self._named = isinstance(models, Mapping)
        by_source = models if isinstance(models, Mapping) else {"": models}
        self._lanes: dict[str, list[Lane]] = {}
        self._lives: Mapping[str, Live[Sample]] = {}
        try:
            for name, several in by_source.items():
                own = self._lanes[name] = []
                own.extend(map(make, _each(several)))
                if not own:
                    raise ConfigError(
                        "model is an empty sequence; a device runs one model at least"
                    )
            if not self._lanes:
                raise ConfigError("model is an empty mapping; a device runs one model at least")
            self._check_names()
        except BaseException:
            self.close()
            raise

    @property
    def lanes(self) -> list[Lane]:
        """Every lane."""
        return [lane for lanes in self._lanes.values() for lane in lanes]

    @property
    def dropped(self) -> int:
        """Samples that live sources threw away since `arrivals`."""
        return sum(live.health().dropped for live in self._lives.values())

    def listen(self, alarmed: Alarmed) -> None:
        """Let every lane measure its drift, and tell of it."""
        for lane in self.lanes:
            lane.alarmed = alarmed

    def of(self, name: str) -> Sequence[Lane]:
        """The lanes that see a source; none for the name of an arrival of nothing."""
        return self._lanes.get(name, ())

    def health(self) -> dict[str, LiveHealth]:
        """Each queue, by its source's name."""
        return {name: live.health() for name, live in self._lives.items()}

    def check(self, source: Items | Mapping[str, Items]) -> Mapping[str, Items]:
        """See that there is a source for each stream, and that it fits.

        Returns:
            The sources by name.

        Raises:
            ConfigError: not one source for each stream.
            SensorError: a source is not what its models take.
        """
        sources = source if isinstance(source, Mapping) else {"": source}
        self._check_sources(sources)
        for name, one in sources.items():
            for lane in self._lanes[name]:
                check_source(one, lane.model)
        return sources

    def restart(self, source: Items | Mapping[str, Items]) -> Mapping[str, Items]:
        """`check`, and begin anew with these sources."""
        sources = self.check(source)
        for lane in self.lanes:
            lane.restart()
        self._lives = {}
        return sources

    def arrivals(
        self, sources: Mapping[str, Items], overrun: str
    ) -> Generator[Arrival, None, None]:
        """What arrives together, and from where; nothing, each second in which nothing does.

        Args:
            sources: from `restart`.
            overrun: the policy of live sources.
        """
        if not any(map(needs_thread, sources.values())):
            if len(sources) > 1:
                yield from merged(sources)
            else:
                for name, only in sources.items():
                    for item in only:
                        yield name, (item,)
            return
        capacities = {
            name: max(queue_capacity(lane.model.manifest.inputs) for lane in self._lanes[name])
            for name in sources
        }
        samples = cast("Mapping[str, Iterable[Sample]]", sources)
        queues = together(samples, capacities, overrun)
        self._lives = queues.lives
        with contextlib.closing(arrivals(queues, IDLE_S)) as arriving:
            yield from arriving

    def complain_of_nothing(self) -> None:
        """Say so in the log where samples came and no window."""
        for lane in self.lanes:
            complain_of_nothing(lane.stats, lane.model)

    def close(self) -> None:
        """Close the models that the lanes loaded themselves."""
        for lane in self.lanes:
            lane.close()

    def _check_names(self) -> None:
        home: dict[str, str] = {}
        for name, lanes in self._lanes.items():
            for model in (model for lane in lanes for model in lane.models):
                other = home.setdefault(model.ref.name, name)
                if other != name:
                    raise ConfigError(
                        f"the sources {other} and {name} both have the model {model.ref.name}: "
                        "nothing would tell their results apart; give one of the bundles "
                        "another name"
                    )

    def _check_sources(self, sources: Mapping[str, object]) -> None:
        if self._named and "" in sources:
            raise ConfigError(
                f"the models are for the sources {', '.join(self._lanes)}; run a mapping of them, "
                "each by its name"
            )
        for name in sources:
            if name not in self._lanes:
                known = ", ".join(self._lanes) if self._named else "one for every model"
                raise ConfigError(
                    f"no model is for the source {name!r}; there is {known}"
                    f"{nearest(name, self._lanes)}"
                )
        missing = [name for name in self._lanes if name not in sources]
        if missing:
            raise ConfigError(f"no source for the models of {', '.join(missing)}")


def answer(
    lanes: Sequence[Lane], items: Sequence[Sample | Window]
) -> Iterable[tuple[Lane, Result]]:
    """The results of what arrived together, each with the lane it is from."""
    for lane in lanes:
        for result in lane.push(items):
            yield lane, result


def _each(models: Models) -> Sequence[ModelLike | Cascade]:
    """A sequence of models, where one model may be given by itself; a path is one model."""
    if isinstance(models, Sequence) and not isinstance(models, (str, bytes, Cascade)):
        return models
    return (models,)


def check_limits(limits: Mapping[str, object], models: Sequence[Model]) -> None:
    """Limits of a channel that no model has would never be looked at."""
    known = {channel.name for model in models for channel in model.manifest.inputs.channels}
    for name in limits:
        if name not in known:
            raise ConfigError(f"limits: no model has a channel {name!r}{nearest(name, known)}")
