"""Processes that are killed with SIGKILL at random moments, over a store in a real database."""

from __future__ import annotations

import pytest
from benchmarks import kill9

pytestmark = pytest.mark.slow
KILLS = 10


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def database(request: pytest.FixtureRequest) -> str | None:
    """The URL of a new database; None: an SQLite file."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres_url")
    return url


def on(first: str, second: str) -> pytest.MarkDecorator:
    """The database of .ci/run's test, and the other, which .ci/full adds."""
    marks = {"postgres": [pytest.mark.server], "sqlite": []}
    params = [
        pytest.param(first, marks=marks[first]),
        pytest.param(second, marks=[*marks[second], pytest.mark.full]),
    ]
    return pytest.mark.parametrize("database", params, indirect=True)


@on("postgres", "sqlite")
def test_links_that_are_killed(database: str | None) -> None:
    """Each Item that Plaid made is in the store, or is named as unknown; nothing is left undone."""
    report = kill9.links(KILLS, database)
    assert report.killed == KILLS
    assert report.made >= 4  # those that were not to be killed
    assert (report.lost, report.strangers) == ([], [])
    assert report.states.keys() <= {"complete", "unknown"}
    assert report.made == report.kept + report.unknown


@on("sqlite", "postgres")
def test_hand_offs_that_are_killed(database: str | None) -> None:
    """With two workers each identity has one instrument, or its hand-off is named as unknown."""
    report = kill9.hand_offs(KILLS, database)
    assert report.killed >= KILLS
    assert report.wrong == []
    assert report.one + report.unknown == report.identities


def test_two_processes_with_one_public_token(database: str | None) -> None:
    """Both get the same Item and tokens, and Plaid makes one."""
    with kill9.ground(database) as at:
        for number in range(3):
            order = at.order(f"user-{number}")
            first, second = at.lives(order, order)
            assert first == {**second, "at": first["at"]}
            assert first["tokens"] == len(kill9.MASKS)
            items = [each for each in at.plaid.items if each.exchanged]
            assert len(items) == number + 1
            assert first["access"] == kill9._sha256(items[-1].access_token)
        assert sum(each.path == kill9.EXCHANGE for each in at.plaid.requests) == 3
        assert len(list(at.store.links())) == 3
