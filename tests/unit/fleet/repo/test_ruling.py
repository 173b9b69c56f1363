"""What a rollout's conductor does to a repository when something is in its way."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeml.errors import BusyError, LinkError
from edgeml.fleet.repo import ruling as module
from edgeml.fleet.repo.repository import Repository
from edgeml.fleet.repo.ruling import RepositoryRuling
from edgeml.sync.connection import Connection


@pytest.fixture
def ruling(repository: Repository, bundle: Callable[..., Path]) -> RepositoryRuling:
    """Of a release that a tenth may have."""
    repository.release([bundle(1)])
    repository.rollout("activity-1", 1000)
    connection = Connection("mqtt://127.0.0.1:9")
    return RepositoryRuling(repository, "activity-1", "default", connection, "plant")


def allowed(ruling: RepositoryRuling) -> int:
    """How many buckets have it by the rule."""
    rule = ruling.read()
    assert rule is not None
    return rule.upto


def test_while_another_command_works_on_it_a_halt_and_a_stage_say_so_and_change_nothing(
    ruling: RepositoryRuling,
) -> None:
    with Repository(ruling.repository.folder.root).open():
        with pytest.raises(BusyError, match="another edgeml command"):
            ruling.halt()
        with pytest.raises(BusyError, match="another edgeml command"):
            ruling.let(5000, lasting=False)
    assert allowed(ruling) == 1000


@pytest.mark.parametrize("failures", [4, 5])
def test_a_halt_that_no_broker_hears_of_is_tried_again_and_then_says_what_is_left_to_do(
    ruling: RepositoryRuling, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    tried: list[bool] = []

    def publish(_: object) -> None:
        tried.append(True)
        if len(tried) <= failures:
            raise LinkError("mqtt://127.0.0.1:9: cannot be reached")

    monkeypatch.setattr(RepositoryRuling, "publish", publish)
    if failures < module._HALT_ATTEMPTS:
        ruling.halt()
    else:
        with pytest.raises(LinkError, match=r"reached; activity-1 is halted .* repo publish"):
            ruling.halt()
    assert len(tried) == 5
    assert allowed(ruling) == 0
