"""The examples run, as programs and as the handlers that a server would call."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from plaid_processors import ProcessorLinker
from plaid_processors.sandbox import LocalSandbox

from .support.rows import rows

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = ["finix", "layer"]


@pytest.fixture
def sandbox() -> Iterator[LocalSandbox]:
    with LocalSandbox() as running:
        yield running


@pytest.fixture
def linker(sandbox: LocalSandbox) -> Iterator[ProcessorLinker]:
    with ProcessorLinker(sandbox.client()) as ready:
        yield ready


def example(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """An example as a program."""
    path = {key: value for key, value in os.environ.items() if not key.startswith("PLAID_")}
    return subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        env={**path, **environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )


def open_link(sandbox: LocalSandbox, linker: ProcessorLinker, partner: str, masks: list[str]):
    token = linker.create_link_token(partner, client_user_id="u", client_name="Acme")
    return sandbox.complete_link(token.link_token, masks=masks)


@rows("name", NAMES)
def test_an_example_runs_against_the_local_plaid(name: str, sandbox: LocalSandbox) -> None:
    """With keys in the environment, each example ends well, names its partner, shows no token."""
    done = run(
        name,
        {
            "PLAID_CLIENT_ID": sandbox.client_id,
            "PLAID_SECRET": sandbox.secret,
            "PLAID_BASE_URL": sandbox.url,
        },
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"for {name.capitalize()}: checking …0000" in done.stdout
    assert "-sandbox-" not in done.stdout


def test_the_layer_handler_makes_a_token_for_each_account(
    sandbox: LocalSandbox, linker: ProcessorLinker
) -> None:
    """What Link's onSuccess sent becomes a token for each account."""
    done = open_link(sandbox, linker, "layer", ["0000", "3333"])
    result = example("layer").handle_success(linker, done.public_token, done.metadata)
    assert [token.account.mask for token in result.processor_tokens] == ["0000", "3333"]


def test_the_finix_handler_makes_one_token(sandbox: LocalSandbox, linker: ProcessorLinker) -> None:
    """One account in, one account linked."""
    done = open_link(sandbox, linker, "finix", ["1111"])
    answer = example("finix").handle_success(linker, done.public_token, done.metadata)
    assert answer == {"linked": done.metadata["accounts"][0]["id"]}


def test_the_finix_handler_asks_which_of_two(
    sandbox: LocalSandbox, linker: ProcessorLinker
) -> None:
    """Two accounts that fit are given back to choose from, and the choice is then linked."""
    done = open_link(sandbox, linker, "finix", ["0000", "1111"])
    handle_success = example("finix").handle_success
    asked = handle_success(linker, done.public_token, done.metadata)
    assert asked == {"choose_one_of": [each["id"] for each in done.metadata["accounts"]]}

    second = asked["choose_one_of"][1]
    answer = handle_success(linker, done.public_token, done.metadata, account_id=second)
    assert answer == {"linked": second}


def test_the_finix_handler_offers_what_fits_for_a_choice_that_does_not(
    sandbox: LocalSandbox, linker: ProcessorLinker
) -> None:
    """A card is none for Finix: the accounts that fit are given back to choose from."""
    done = open_link(sandbox, linker, "layer", ["0000", "1111", "3333"])
    *fitting, card = (each["id"] for each in done.metadata["accounts"])
    asked = example("finix").handle_success(
        linker, done.public_token, done.metadata, account_id=card
    )
    assert asked == {"choose_one_of": fitting}


@pytest.fixture(scope="module")
def handed_over() -> subprocess.CompletedProcess[str]:
    """One run of the example that goes all the way, read by several tests."""
    return run("handoff", {})


def test_the_handoff_example_ends_well(handed_over: subprocess.CompletedProcess[str]) -> None:
    """It needs no key and no network, and shows no token."""
    assert (handed_over.returncode, handed_over.stderr) == (0, "")
    assert "-sandbox-" not in handed_over.stdout


def test_the_handoff_example_shows_what_each_partner_sees(
    handed_over: subprocess.CompletedProcess[str],
) -> None:
    """Layer has the accounts with their transactions, Finix the one; a second time adds nothing."""
    lines = handed_over.stdout.splitlines()
    assert lines[:4] == [
        "for Layer: 14 new tokens, 14 sent",
        lines[1],
        "for Layer: 0 new tokens, 0 sent",
        "for Finix: checking …0000 is there already, 1 time",
    ]
    assert lines[1].startswith("for Finix: checking …0000, instrument PI")
    assert [line.split(":")[0] for line in lines[4:7]] == [
        "Layer sees checking …0000",
        "Layer sees savings …1111",
        "Layer sees cd …2222",
    ]
    assert lines[7].startswith("Finix sees checking of ")
    assert len(lines) == 8
