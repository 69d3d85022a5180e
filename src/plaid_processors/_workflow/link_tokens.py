"""What Link is opened with, for one partner or several: ``/link/token/create``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..adapters import PartnerAdapter, get_adapters, products_of
from ..errors import ConfigurationError
from ..results import Environment
from .arguments import checked_token, filled_text, flag, names, plain_mapping, text

if TYPE_CHECKING:
    from .plan import Partners


def link_token_body(
    partner: Partners,
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
    required_if_supported_products: Iterable[str] | None,
    optional_products: Iterable[str] | None,
    additional_consented_products: Iterable[str] | None,
    account_filters: Mapping[str, object] | None,
    link_customization_name: str | None,
    webhook: str | None,
    redirect_uri: str | None,
    android_package_name: str | None,
    hosted_link: Mapping[str, object] | None,
    extra: Mapping[str, object] | None,
) -> dict[str, object]:
    """The body of ``/link/token/create``, from the arguments of `create_link_token`.

    Raises:
        UnknownProcessorError: a partner's name is not known.
        ConfigurationError: no products are known for these partners, or they contradict each other.
        TypeError, ValueError: an argument is wrong.
    """
    lists = {
        "required_if_supported_products": required_if_supported_products,
        "optional_products": optional_products,
        "additional_consented_products": additional_consented_products,
    }
    texts = {
        "link_customization_name": link_customization_name,
        "webhook": webhook,
        "redirect_uri": redirect_uri,
        "android_package_name": android_package_name,
    }
    adapters = get_adapters(partner)
    body: dict[str, object] = {
        "client_name": filled_text("client_name", client_name),
        "language": filled_text("language", language),
        "country_codes": names("country_codes", country_codes),
        "user": _user(client_user_id, user),
    }
    read = {name: names(name, each) for name, each in lists.items() if each is not None}
    if products is not None:
        body["products"] = names("products", products)
    elif access_token is None:
        body["products"] = _united_products(adapters, read)
    if access_token is not None:
        body["access_token"] = checked_token("access_token", access_token, "access", environment)
    if account_selection_enabled is not None:
        enabled = flag("account_selection_enabled", account_selection_enabled)
        body["update"] = {"account_selection_enabled": enabled}
    # In update mode Plaid takes filters only where accounts can be selected anew:
    # https://plaid.com/docs/api/link/#link-token-create-request-account-filters
    filterable = access_token is None or bool(account_selection_enabled)
    filters = _account_filters(adapters) if filterable else None
    if account_filters is not None:  # {} switches the partner's own off
        filters = plain_mapping("account_filters", account_filters)
    body.update(read)
    body.update({name: text(name, each) for name, each in texts.items() if each is not None})
    if hosted_link is not None:
        body["hosted_link"] = plain_mapping("hosted_link", hosted_link)
    if filters:
        body["account_filters"] = filters
    return _with_extra(body, {} if extra is None else plain_mapping("extra", extra))


def _user(client_user_id: str, user: Mapping[str, object] | None) -> dict[str, object]:
    more = {} if user is None else plain_mapping("user", user)
    if "client_user_id" in more:
        raise ValueError("user has client_user_id, which this call sets by its own argument")
    return {**more, "client_user_id": filled_text("client_user_id", client_user_id)}


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


def _united_products(
    adapters: Sequence[PartnerAdapter], lists: Mapping[str, Iterable[str]]
) -> list[str]:
    """The partners' products; those that the caller put into another list are left to it.

    Raises:
        ConfigurationError: no product is known, or those of one partner would hide accounts from
            another, which only the caller can decide.
    """
    elsewhere = {name for each in lists.values() for name in each}
    products = [name for name in products_of(adapters) if name not in elsewhere]
    if not products and elsewhere:
        raise ConfigurationError("Plaid wants at least one product in products= beside the others")
    if not products:
        names = ", ".join(each.processor for each in adapters)
        raise ConfigurationError(
            f"no product to open Link with: no source says which {names} needs. Ask the partner, "
            "and pass products=[…]"
        )
    hidden = [each.processor for each in adapters if _auth_hides_from(each)]
    if "auth" in products and hidden:
        raise ConfigurationError(_conflict(adapters, hidden))
    return products


def _auth_hides_from(adapter: PartnerAdapter) -> bool:
    """Whether ``auth`` in ``products`` would take accounts from this partner that it wants.

    https://plaid.com/docs/link/initializing-products/
    """
    if "auth" in adapter.products:
        return False
    return adapter.subtypes is None or not _AUTH_SUBTYPES.issuperset(adapter.subtypes)


# https://plaid.com/docs/link/initializing-products/
_AUTH_SUBTYPES = frozenset({"checking", "savings", "cash management"})


def _conflict(adapters: Sequence[PartnerAdapter], hidden: Sequence[str]) -> str:
    wanting = [each.processor for each in adapters if "auth" in each.products]
    rest = [name for name in products_of(adapters) if name not in ("auth", "identity")]
    softened = [name for name in products_of(adapters) if name in ("auth", "identity")]
    return (
        f"{' and '.join(wanting)} wants 'auth' among Link's products, and with it Link shows only "
        "checking, savings and cash management accounts: "
        f"{' and '.join(hidden)} would lose the others, such as credit cards. No source says which "
        "should give way, so choose: two Links, one for each partner; or "
        f"products={rest}, required_if_supported_products={softened}, if "
        f"{' and '.join(wanting)} can do with that; or products={products_of(adapters)}, if "
        f"{' and '.join(hidden)} can do without."
    )
