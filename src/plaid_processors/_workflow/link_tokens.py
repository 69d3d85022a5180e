"""What Link is opened with, for one partner or several."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from .._plaid import requests
from .._plaid.call import PlaidCall
from ..adapters.base import PartnerAdapter
from ..adapters.catalogue import get_adapters, products_of
from ..errors import ConfigurationError, ItemLoginRequiredError, ItemNotFoundError
from ..results import LinkToken, texts_in
from ..store.books import Books
from .arguments import checked_token, filled_text, flag, names, plain_mapping, text
from .keeping import access_token_of
from .plan import Partners

_LISTS = ("required_if_supported_products", "optional_products", "additional_consented_products")

# The fields that are sent as they are given, each with its check.
_OPTIONAL = {
    "products": names,
    **dict.fromkeys(_LISTS, names),
    "link_customization_name": text,
    "webhook": text,
    "redirect_uri": text,
    "android_package_name": text,
    "account_filters": plain_mapping,
    "hosted_link": plain_mapping,
}


async def create_link_token(
    call: PlaidCall,
    books: Books | None,
    partner: Partners,
    *,
    client_user_id: str,
    client_name: str,
    language: str,
    country_codes: Iterable[str],
    user: Mapping[str, object] | None,
    access_token: str | None,
    item_id: str | None,
    account_selection_enabled: bool | None,
    extra: Mapping[str, object] | None,
    **optional: object,
) -> LinkToken:
    adapters = get_adapters(partner)
    if item_id is not None:
        access_token = await access_token_of(call, books, access_token, item_id)
    more = {} if user is None else plain_mapping("user", user)
    if "client_user_id" in more:
        raise ValueError("user has client_user_id, which this call sets by its own argument")
    body: dict[str, Any] = {
        "client_name": filled_text("client_name", client_name),
        "language": filled_text("language", language),
        "country_codes": names("country_codes", country_codes),
        "user": {**more, "client_user_id": filled_text("client_user_id", client_user_id)},
    }
    for name, check in _OPTIONAL.items():
        if optional[name] is not None:
            body[name] = check(name, optional[name])
    if access_token is not None:
        body["access_token"] = checked_token("access_token", access_token, call.environment)
    elif "products" not in body:
        elsewhere = {product for name in _LISTS for product in body.get(name, ())}
        body["products"] = _united_products(adapters, elsewhere)
    if asked := [name for name in ("products", *_LISTS) if "balance" in body.get(name, ())]:
        # https://plaid.com/docs/api/link/#link-token-create-request-products
        raise ConfigurationError(
            f"{asked[0]} has 'balance', which is not asked for in Link: leave it out, Items have it"
        )
    if account_selection_enabled is not None:
        enabled = flag("account_selection_enabled", account_selection_enabled)
        if enabled and access_token is None:
            raise ValueError("account_selection_enabled is for update mode: pass access_token= too")
        body["update"] = {"account_selection_enabled": enabled}
    # In update mode Plaid takes filters only where the user can select accounts again:
    # https://plaid.com/docs/api/link/#link-token-create-request-account-filters
    filters = body.pop("account_filters", None)  # {} switches the partners' own off
    if filters is None and (access_token is None or account_selection_enabled):
        filters = _account_filters(adapters)
    if filters:
        body["account_filters"] = filters
    rest = {} if extra is None else plain_mapping("extra", extra)
    if any(name in rest for name in ("client_id", "secret")):
        raise ValueError("extra has a key, which is the client's")
    own_arguments = {*body, *_OPTIONAL, "access_token", "update"}
    if twice := [name for name in rest if name in own_arguments]:
        raise ValueError(f"extra has {', '.join(twice)}, which this call sets by its own arguments")
    own = body.get("additional_consented_products")
    if access_token is not None and own != []:  # an empty list: the caller asks for none
        given = {name for listed in ("products", *_LISTS) for name in body.get(listed, ())}
        wanted = [name for name in products_of(adapters) if name not in given]
        if missing := await _not_consented_to(call, body["access_token"], wanted):
            body["additional_consented_products"] = [*(own or ()), *missing]
    return await call.ask(requests.create_link_token({**body, **rest}))


# https://plaid.com/docs/api/link/#link-token-create-request-additional-consented-products
_CONSENT_FOR = {
    "auth",
    "balance_plus",
    "identity",
    "investments",
    "investments_auth",
    "liabilities",
    "signal",
    "transactions",
}
# The data scopes of these include Identity's:
# https://plaid.com/docs/link/data-transparency-messaging-migration-guide/#data-scopes-by-product
_WITH_IDENTITY = _CONSENT_FOR - {"balance_plus"}


async def _not_consented_to(call: PlaidCall, access_token: str, wanted: Sequence[str]) -> list[str]:
    """Those of the products that the Item's user has not consented to, and can be asked for."""
    askable = [name for name in wanted if name in _CONSENT_FOR]
    if not askable:
        return []
    try:
        item = await call.ask(requests.get_item(access_token))
    except (ItemLoginRequiredError, ItemNotFoundError):  # update mode may help: Plaid decides
        return []
    return not_consented(texts_in(item, "consented_products"), wanted)


def not_consented(consented: Collection[str] | None, wanted: Iterable[str]) -> list[str]:
    """Those of the products that an Item's user has not consented to, and can be asked for."""
    if consented is None:  # an older Item, of which Plaid records no consent
        return []
    covered = {*consented, *(["identity"] if _WITH_IDENTITY.intersection(consented) else [])}
    return [name for name in wanted if name in _CONSENT_FOR and name not in covered]


# https://plaid.com/docs/api/accounts/#account-type-schema
_DEPOSITORY = "checking,savings,hsa,cd,money market,paypal,prepaid,cash management,ebt".split(",")


def _account_filters(adapters: Sequence[PartnerAdapter]) -> dict[str, object] | None:
    """The accounts that Link shows to the user: filtered only where every partner has a filter.

    A type without a filter is hidden altogether once another has one
    (https://plaid.com/docs/api/link/#link-token-create-request-account-filters), and the
    partners' subtypes known here are all of type depository.
    """
    subtypes: dict[str, None] = {}
    for adapter in adapters:
        if adapter.subtypes is None or not set(_DEPOSITORY).issuperset(adapter.subtypes):
            return None
        subtypes.update(dict.fromkeys(adapter.subtypes))
    return {"depository": {"account_subtypes": list(subtypes)}}


def _united_products(adapters: Sequence[PartnerAdapter], elsewhere: Collection[str]) -> list[str]:
    """The partners' products, without those that the caller put ``elsewhere``."""
    wanted = products_of(adapters)
    products = [name for name in wanted if name not in elsewhere]
    if not products and elsewhere:
        raise ConfigurationError("Plaid wants at least one product in products= beside the others")
    if not products:
        partners = ", ".join(each.processor for each in adapters)
        raise ConfigurationError(
            f"no source says which {partners} needs of Link's products: ask, and pass products=[…]"
        )
    # With `auth` Link shows only these, https://plaid.com/docs/link/initializing-products/.
    shown = {"checking", "savings", "cash management"}
    losing = " and ".join(
        each.processor
        for each in adapters
        if "auth" not in each.products
        and (each.subtypes is None or not shown.issuperset(each.subtypes))
    )
    if "auth" in products and losing:
        wanting = " and ".join(each.processor for each in adapters if "auth" in each.products)
        rest = [name for name in wanted if name not in ("auth", "identity")]
        softened = [name for name in wanted if name in ("auth", "identity")]
        raise ConfigurationError(
            f"{wanting} wants 'auth' among Link's products, with which Link shows only checking, "
            f"savings and cash management accounts: {losing} would lose the others. Choose: two "
            f"Links, one for each partner; or products={rest}, "
            f"required_if_supported_products={softened}; or products={wanted}."
        )
    return products
