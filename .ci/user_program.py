"""A user's program over the installed wheel and its runtime dependencies alone.

It is type-checked strictly, by mypy and by pyright, then run against a local Plaid that another
environment serves.
"""

# pyright: strict

from importlib.util import find_spec
from typing import assert_type

import plaid_processors
from plaid_processors import (
    Account,
    AccountSelectionError,
    LinkResult,
    PlaidConnectionError,
    ProcessorLinker,
    PublicTokenError,
)


def link(linker: ProcessorLinker) -> LinkResult:
    """Both partners, from one Item."""
    seen: list[str | None] = []
    result = linker.link_sandbox(
        ["finix", "layer"],
        products=["auth", "identity", "transactions"],
        on_exchange=lambda item: seen.append(item.item_id),
    )
    assert_type(result, LinkResult)
    assert result.complete
    assert seen == [result.item_id]
    assert_type(result.token("finix").account, Account)
    return result


def fail(linker: ProcessorLinker, result: LinkResult) -> None:
    """What fails is told by the errors of this package."""
    try:
        linker.link("layer", public_token="public-sandbox-b0e2c4ee-a763-4df5-bfe9-46a46bce993d")
    except PublicTokenError as error:
        assert error.error_code == "INVALID_PUBLIC_TOKEN"
        assert error.request_id
    else:
        raise AssertionError("an unknown public token was taken")

    accounts = [token.account for token in result.processor_tokens]
    try:
        linker.issue("finix", access_token=result.access_token, accounts=accounts)
    except AccountSelectionError as refused:
        assert len(refused.eligible) == 2
    else:
        raise AssertionError("Finix was given two accounts")

    nobody = {"PLAID_CLIENT_ID": "a", "PLAID_SECRET": "b", "PLAID_BASE_URL": "http://127.0.0.1:9"}
    with ProcessorLinker.from_env(nobody, max_attempts=1) as lost:
        try:
            lost.accounts("access-sandbox-b0e2c4ee-a763-4df5-bfe9-46a46bce993d")
        except PlaidConnectionError as unanswered:
            assert not unanswered.outcome_unknown
        else:
            raise AssertionError("nobody answered")


def main() -> None:
    """Import every public name, link, fail, remove."""
    for extra in ("starlette", "uvicorn", "jwt", "pytest"):
        assert find_spec(extra) is None, f"{extra} is here: this is not the wheel alone"
    assert all(hasattr(plaid_processors, name) for name in plaid_processors.__all__)
    with ProcessorLinker.from_env() as linker:
        result = link(linker)
        fail(linker, result)
        assert linker.remove(result.access_token)
        assert not linker.remove(result.access_token)
    print(f"{len(result.processor_tokens)} processor tokens with the wheel alone")


if __name__ == "__main__":
    main()
