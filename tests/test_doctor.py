"""`plaid-processors doctor` and `partners`, with each thing broken in turn."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from plaid_processors import PartnerAdapter, get_adapter, partners
from plaid_processors.cli import main
from plaid_processors.doctor import Finding, examine
from plaid_processors.sandbox import LocalSandbox

BOTH = [get_adapter("layer"), get_adapter("finix")]


@pytest.fixture
def plaid() -> Iterator[LocalSandbox]:
    with LocalSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def environ(plaid: LocalSandbox) -> dict[str, str]:
    return {
        "PLAID_CLIENT_ID": plaid.client_id,
        "PLAID_SECRET": plaid.secret,
        "PLAID_BASE_URL": plaid.url,
    }


def wrong(findings: list[Finding]) -> list[str]:
    """What the doctor names."""
    return [each.check for each in findings if each.good is False]


def test_nothing_is_wrong(plaid: LocalSandbox, environ: dict[str, str]) -> None:
    """A good set-up has every check done, and leaves no Item behind."""
    findings = list(examine(environ, BOTH))
    assert [each.good for each in findings] == [True] * len(findings)
    assert [each.check for each in findings] == [
        "the keys in PLAID_CLIENT_ID and PLAID_SECRET",
        "environment",
        "address",
        "the way to Plaid",
        "the keys at Plaid",
        "Link's products for layer",
        "a Sandbox link for layer",
        "the integration with layer",
        "Link's products for finix",
        "a Sandbox link for finix",
        "the integration with finix",
    ]
    assert [each.removed for each in plaid.items] == [True, True]


SETTINGS: dict[str, tuple[dict[str, str], str]] = {
    "no client id": ({"PLAID_CLIENT_ID": ""}, "the keys in PLAID_CLIENT_ID and PLAID_SECRET"),
    "no secret": ({"PLAID_SECRET": " "}, "the keys in PLAID_CLIENT_ID and PLAID_SECRET"),
    "a key in two lines": (
        {"PLAID_SECRET": "ab\ncd"},
        "the keys in PLAID_CLIENT_ID and PLAID_SECRET",
    ),
    "an environment that is gone": ({"PLAID_ENV": "development"}, "environment"),
    "an unknown environment": ({"PLAID_ENV": "live"}, "environment"),
    "an address over http": ({"PLAID_BASE_URL": "http://plaid.example"}, "address"),
    "nobody there": ({"PLAID_BASE_URL": "http://127.0.0.1:1"}, "the way to Plaid"),
    "a wrong secret": ({"PLAID_SECRET": "5e" * 15}, "the keys at Plaid"),
    "a wrong client id": ({"PLAID_CLIENT_ID": "0" * 24}, "the keys at Plaid"),
    "a client id that is none": ({"PLAID_CLIENT_ID": "abc"}, "the keys at Plaid"),
}


@pytest.mark.parametrize(("broken", "named"), SETTINGS.values(), ids=SETTINGS)
def test_a_setting_that_is_wrong(
    broken: dict[str, str], named: str, environ: dict[str, str]
) -> None:
    """The setting is named, with what to do, and nothing else is."""
    findings = list(examine({**environ, **broken}, BOTH))
    assert wrong(findings) == [named]
    assert next(each for each in findings if each.good is False).remedy


FAULTS: dict[str, tuple[Callable[[LocalSandbox], None], str]] = {
    "an integration that is off": (
        lambda plaid: plaid.disable_partner("finix"),
        "the integration with finix",
    ),
    "products that Link may not use": (
        lambda plaid: plaid.fail("/link/token/create", error_code="INVALID_PRODUCT"),
        "Link's products for layer",
    ),
    "a bank that is down": (
        lambda plaid: plaid.fail(
            "/sandbox/public_token/create", error_code="INSTITUTION_DOWN", times=3
        ),
        "a Sandbox link for layer",
    ),
    "an exchange that is refused": (
        lambda plaid: plaid.fail("/item/public_token/exchange", error_code="INVALID_PUBLIC_TOKEN"),
        "a Sandbox link for layer",
    ),
    "accounts that cannot be had": (
        lambda plaid: plaid.fail("/accounts/get", error_code="ITEM_LOGIN_REQUIRED"),
        "a Sandbox link for layer",
    ),
    "a processor token that is refused": (
        lambda plaid: plaid.fail("/processor/token/create", error_code="ITEM_NOT_SUPPORTED"),
        "a Sandbox link for layer",
    ),
}


@pytest.mark.parametrize(("break_it", "named"), FAULTS.values(), ids=FAULTS)
def test_a_thing_that_is_broken_at_plaid(
    break_it: Callable[[LocalSandbox], None],
    named: str,
    plaid: LocalSandbox,
    environ: dict[str, str],
) -> None:
    """The thing is named, and nothing else is; no Item that was exchanged is left behind."""
    break_it(plaid)
    findings = list(examine(environ, BOTH))
    assert wrong(findings) == [named]
    assert [each for each in plaid.items if each.exchanged and not each.removed] == []


def test_a_clean_up_that_fails(plaid: LocalSandbox, environ: dict[str, str]) -> None:
    """An Item that could not be removed is named by its id."""
    plaid.fail("/item/remove", error_code="INTERNAL_SERVER_ERROR", times=3)
    (named,) = wrong(list(examine(environ, BOTH)))
    assert named == f"clean-up: Item {plaid.items[0].item_id} is left in the Sandbox"


def test_production_is_asked_for_link_tokens_only(
    plaid: LocalSandbox, environ: dict[str, str]
) -> None:
    """In production nothing is made that lasts or costs."""
    findings = list(examine({**environ, "PLAID_ENV": "production"}, BOTH))
    assert {each.path for each in plaid.requests} == {"/link/token/create"}
    skipped = [each.check for each in findings if each.good is None]
    assert len(skipped) == 4
    assert wrong(findings) == []


def test_any_partner(plaid: LocalSandbox, environ: dict[str, str]) -> None:
    """A partner of one's own, and one without a rule, are checked with any one account."""
    own = [PartnerAdapter(processor="brale", products=("auth",), as_given=True)]
    assert (
        wrong(list(examine(environ, [*own, get_adapter("dwolla"), get_adapter("ocrolus")]))) == []
    )
    assert wrong(list(examine(environ, [get_adapter("brale")]))) == ["Link's products for brale"]


def test_the_command_tells_each_check(
    plaid: LocalSandbox,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line for each check; what is wrong again in one line at the end, with status 1."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PLAID_ENV", raising=False)
    assert main(["doctor", "finix"]) == 0
    capsys.readouterr()
    plaid.disable_partner("finix")
    assert main(["doctor", "finix"]) == 1
    shown = capsys.readouterr()
    assert "✗ the integration with finix: INVALID_PRODUCT" in shown.out
    assert "https://dashboard.plaid.com/developers/integrations" in shown.out
    assert shown.err == "plaid-processors: 1 thing is wrong: the integration with finix\n"
    assert plaid.secret not in shown.out + shown.err
    assert not re.search(r"(access|public|processor)-sandbox-[0-9a-f]{8}", shown.out)


def test_the_command_refuses_a_near_miss(capsys: pytest.CaptureFixture[str]) -> None:
    """A partner's name is checked before anything is asked."""
    assert main(["doctor", "finx"]) == 1
    assert "did you mean 'finix'" in capsys.readouterr().err


# --- the catalogue


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The partners that the command lists."""
    assert main(["partners", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split()[0] == str(len(lines) - 2)
    return [line.split()[0] for line in lines[:-2]]


def test_all_partners_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a filter, every partner has a line."""
    assert listed(capsys) == [each.processor for each in partners()]


@pytest.mark.parametrize(
    ("filters", "there", "not_there"),
    [
        (["--accounts", "one"], "finix", "layer"),
        (["--accounts", "all"], "layer", "finix"),
        (["--accounts", "given"], "brale", "layer"),
        (["--product", "transactions"], "boom", "finix"),
        (["--subtype", "credit card"], "layer", "finix"),
        (["--accounts", "all", "--product", "auth"], "marqeta", "layer"),
    ],
)
def test_filters(
    filters: list[str], there: str, not_there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each filter leaves what fits it."""
    shown = listed(capsys, *filters)
    assert there in shown
    assert not_there not in shown


@pytest.mark.parametrize("partner", partners(), ids=lambda each: each.processor)
def test_one_partner_with_its_source(partner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Its rule stands beside the page that says it, or the want of one."""
    assert main(["partners", partner.processor]) == 0
    shown = capsys.readouterr().out
    assert (partner.source or "no page of Plaid's says a rule") in shown
    assert " ".join(partner.adapter.rule.split()) in " ".join(shown.split())


def test_the_catalogue_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads it."""
    assert main(["partners", "--json"]) == 0
    rows = {row["processor"]: row for row in json.loads(capsys.readouterr().out)}
    assert len(rows) == len(partners())
    assert rows["dwolla"]["token_seconds"] == 3600
    assert rows["stripe"]["single_use"] is True


def test_a_partner_that_nobody_knows(capsys: pytest.CaptureFixture[str]) -> None:
    """The name that was meant is told."""
    assert main(["partners", "sbv_api"]) == 1
    assert "did you mean 'svb_api'" in capsys.readouterr().err
