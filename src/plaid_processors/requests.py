"""What the linkers take, checked and made into what the flow works with. Pure.

Both linkers go through here, so that they refuse the same things in the same words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import flow
from .adapters import PartnerAdapter, get_adapters
from .errors import AccountSelectionError, ConfigurationError
from .redaction import token_kind
from .results import Account, Environment, LinkResult, as_accounts
from .selection import Choice, choices, rebind

Partner = str | PartnerAdapter | Iterable[str | PartnerAdapter]
Accounts = Iterable[Account | Mapping[str, object]]
AccountIds = Mapping[str, Iterable[str]]


def checked_token(name: str, token: object, wanted: str, environment: Environment) -> str:
    """The token, if nothing about it says that it is another one than is wanted here.

    Plaid's tokens are ``<type>-<environment>-…``; what does not look like that is sent as it is.

    Raises:
        TypeError: it is not a string.
        ConfigurationError: it is empty, or of another type or environment.
    """
    if not isinstance(token, str):
        raise TypeError(f"{name} must be a string, not {type(token).__name__}")
    if not token.strip():
        raise ConfigurationError(f"{name} is empty")
    kind = token_kind(token)
    if kind is not None and kind[0] != wanted:
        raise ConfigurationError(f"{name} is a token of type {kind[0]!r}, expected {wanted!r}")
    if kind is not None and kind[1] != environment:
        raise ConfigurationError(
            f"{name} is of the environment {kind[1]!r}, but this client is of {environment.value!r}"
        )
    return token


def checked_text(name: str, value: object) -> str:
    """A text that must not be missing."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    if not value.strip():
        raise ValueError(f"{name} must not be empty")
    return value


def checked_options(on_token: flow.OnToken | None, partial: bool) -> flow.Options:
    """How tokens are asked for and told."""
    check_callback("on_token", on_token)
    return flow.Options(on_token=on_token, partial=bool(partial))


def check_callback(name: str, callback: object) -> None:
    """Refuse what cannot be called before anything is sent, not after."""
    if callback is not None and not callable(callback):
        raise TypeError(f"{name} must be callable, not {type(callback).__name__}")


def plan(
    partner: Partner,
    accounts: Accounts | None,
    *,
    account_id: str | None = None,
    account_ids: AccountIds | None = None,
    verify_accounts: bool = False,
    first_fitting: bool = False,
) -> flow.Plan:
    """What is to be linked."""
    bound = choices(
        get_adapters(partner),
        account_id=account_id,
        account_ids=account_ids,
        first_fitting=first_fitting,
    )
    return flow.Plan(
        choices=bound, accounts=_given_accounts(accounts, bound), verify=verify_accounts
    )


def _given_accounts(
    accounts: Accounts | None, bound: Sequence[Choice]
) -> tuple[Account, ...] | None:
    if accounts is None:
        return None
    read = as_accounts(accounts)
    if not read:
        raise AccountSelectionError(
            "accounts is empty: pass at least one, or None to ask /accounts/get",
            processor=", ".join(choice.adapter.processor for choice in bound),
        )
    return read


def link_metadata(
    metadata: Mapping[str, object] | None, accounts: Accounts | None
) -> tuple[flow.Session, Accounts | None]:
    """The session, and the accounts: those given, else those of Link's metadata."""
    if metadata is None:
        return flow.Session(), accounts
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be Link's metadata object, not {type(metadata).__name__}")
    listed: Any = metadata.get("accounts") if accounts is None else accounts
    return flow.Session.from_metadata(metadata), listed


def resume_plan(
    result: LinkResult,
    partner: Partner | None,
    accounts: Accounts | None,
    *,
    account_id: str | None = None,
    account_ids: AccountIds | None = None,
    verify_accounts: bool = False,
) -> flow.Plan | None:
    """What is to be linked for the partners of a result whose accounts are not chosen yet.

    Raises:
        ValueError: something is given for partners that have their accounts.
    """
    waiting = {each.processor: each for each in result.unselected}
    if not waiting:
        given = (partner, accounts, account_id, account_ids)
        if any(each is not None for each in given):
            raise ValueError(
                "this result's accounts are chosen already: resume(result) asks for what is pending"
            )
        return None
    adapters = _waiting_adapters(tuple(waiting), partner)
    bound = choices(adapters, account_id=account_id, account_ids=account_ids)
    return flow.Plan(
        choices=tuple(rebind(choice, waiting[choice.adapter.processor]) for choice in bound),
        accounts=_given_accounts(accounts, bound),
        verify=verify_accounts,
    )


def _waiting_adapters(
    waiting: Sequence[str], partner: Partner | None
) -> tuple[PartnerAdapter, ...]:
    given = {} if partner is None else {each.processor: each for each in get_adapters(partner)}
    if unknown := [name for name in given if name not in waiting]:
        raise ValueError(
            f"{', '.join(unknown)} is not waiting for accounts in this result; "
            f"{', '.join(waiting)} is"
        )
    missing = [name for name in waiting if name not in given]
    known = {each.processor: each for each in get_adapters(missing)} if missing else {}
    return tuple(given.get(name) or known[name] for name in waiting)


def products_of(adapters: Sequence[PartnerAdapter]) -> list[str]:
    """The products of all these partners, each once, in their order."""
    return list(dict.fromkeys(product for each in adapters for product in each.products))


def sandbox_products(plan_: flow.Plan, products: Iterable[str] | None) -> list[str]:
    """What a Sandbox Item is made with: the partners' products, or the caller's."""
    if products is not None:
        return _names("products", products)
    return products_of([choice.adapter for choice in plan_.choices])


def _names(name: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, str):
        raise TypeError(f"{name} must be a sequence of strings, not the string {values!r}")
    return list(values)


def link_token_body(
    partner: Partner,
    environment: Environment,
    *,
    client_user_id: str,
    client_name: str,
    products: Iterable[str] | None,
    language: str,
    country_codes: Iterable[str],
    user: Mapping[str, object] | None,
    access_token: str | None,
    account_selection_enabled: bool | None,
    account_filters: Mapping[str, object] | None,
    lists: Mapping[str, Iterable[str] | None],
    options: Mapping[str, object | None],
    extra: Mapping[str, object] | None,
) -> dict[str, object]:
    """The body of ``/link/token/create``."""
    adapters = get_adapters(partner)
    body: dict[str, object] = {
        "client_name": checked_text("client_name", client_name),
        "language": language,
        "country_codes": _names("country_codes", country_codes),
        "user": {**(user or {}), "client_user_id": checked_text("client_user_id", client_user_id)},
    }
    if products is not None:
        body["products"] = _names("products", products)
    elif access_token is None:
        body["products"] = products_of(adapters)
    if access_token is not None:
        body["access_token"] = checked_token("access_token", access_token, "access", environment)
    if account_selection_enabled is not None:
        body["update"] = {"account_selection_enabled": account_selection_enabled}
    # In update mode Plaid takes filters only where accounts can be selected anew:
    # https://plaid.com/docs/api/link/#link-token-create-request-account-filters
    filterable = access_token is None or bool(account_selection_enabled)
    filters = account_filters or (_account_filters(adapters) if filterable else None)
    body.update({name: _names(name, each) for name, each in lists.items() if each is not None})
    body.update({name: each for name, each in options.items() if each is not None})
    if filters:
        body["account_filters"] = filters
    return _with_extra(body, extra or {})


def _account_filters(adapters: Sequence[PartnerAdapter]) -> dict[str, object] | None:
    """What Link shows the user: a filter only where every partner has one.

    A type without a filter is hidden altogether once another has one
    (https://plaid.com/docs/api/link/#link-token-create-request-account-filters), and the
    partners' subtypes known here are all of type depository.
    """
    subtypes: dict[str, None] = {}
    for adapter in adapters:
        if adapter.subtypes is None or not _DEPOSITORY.issuperset(adapter.subtypes):
            return None
        subtypes.update(dict.fromkeys(adapter.subtypes))
    return {"depository": {"account_subtypes": list(subtypes)}}


# https://plaid.com/docs/api/accounts/#account-type-schema
_DEPOSITORY = frozenset(
    {
        "checking", "savings", "hsa", "cd", "money market", "paypal", "prepaid",
        "cash management", "ebt",
    }
)  # fmt: skip


def _with_extra(body: dict[str, object], extra: Mapping[str, object]) -> dict[str, object]:
    if twice := [name for name in extra if name in body]:
        raise ValueError(f"extra has {', '.join(twice)}, which this call sets by its own arguments")
    return {**body, **extra}
