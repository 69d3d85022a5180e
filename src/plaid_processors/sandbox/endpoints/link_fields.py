"""The fields of `/link/token/create`.

From Plaid's OpenAPI description of 2026 and its clients from 2021 on. Fields of products that the
local Plaid does not have are accepted and not checked.
"""

from __future__ import annotations

from typing import Any

from plaid_processors.sandbox.errors import invalid_field
from plaid_processors.sandbox.fields import (
    Field,
    anything,
    choice,
    date,
    flag,
    free,
    instant,
    integer,
    many,
    record,
    required,
    return_address,
    text,
    url,
)
from plaid_processors.sandbox.tables import table

LANGUAGES = [row["language"] for row in table("languages")]
COUNTRIES = [row["country"] for row in table("countries")]
MAX_HOSTED_LIFE = 21 * 24 * 60 * 60


def _check_countries(value: Any, path: str) -> None:
    """Refuse what is no list of countries (message seen in 2020)."""
    if not (isinstance(value, list) and value and all(isinstance(each, str) for each in value)):
        raise invalid_field(f"{path} must be a non-empty string array")
    for number, country in enumerate(value):
        if country not in COUNTRIES:
            known = ", ".join(COUNTRIES)
            raise invalid_field(f"{path}[{number}] must be one of: {known}")


_SUBTYPES = required(many(text()))

USER = record(
    client_user_id=required(text(nonempty=True)),
    legal_name=text(),
    name=free(),
    phone_number=text(),
    phone_number_verified_time=instant(),
    email_address=text(),
    email_address_verified_time=instant(),
    ssn=text(),
    date_of_birth=date(),
    address=free(),
    id_number=free(),
)

AUTH = record(
    auth_type_select_enabled=flag(),
    automated_microdeposits_enabled=flag(),
    instant_match_enabled=flag(),
    same_day_microdeposits_enabled=flag(),
    instant_microdeposits_enabled=flag(),
    reroute_to_credentials=choice(("OFF", "OPTIONAL", "FORCED")),
    database_match_enabled=flag(),
    database_insights_enabled=flag(),
    flow_type=text(),
    sms_microdeposits_verification_enabled=flag(),
)

ACCOUNT_FILTERS = record(
    depository=record(account_subtypes=_SUBTYPES, limited_purpose_types=many(text())),
    credit=record(account_subtypes=_SUBTYPES),
    loan=record(account_subtypes=_SUBTYPES),
    investment=record(account_subtypes=_SUBTYPES),
    other=record(account_subtypes=_SUBTYPES),
)

HOSTED_LINK = record(
    delivery_method=choice(("sms", "email")),
    completion_redirect_uri=return_address(),
    url_lifetime_seconds=integer(1, MAX_HOSTED_LIFE),
    is_mobile_app=flag(),
)

_PRODUCTS = many(text())

LINK_TOKEN_FIELDS: dict[str, Field] = {
    "client_name": required(text(nonempty=True)),
    "language": required(choice(LANGUAGES)),
    "country_codes": required(anything(_check_countries)),
    "user": USER,
    "user_id": text(),
    "products": _PRODUCTS,
    "required_if_supported_products": _PRODUCTS,
    "optional_products": _PRODUCTS,
    "additional_consented_products": _PRODUCTS,
    "webhook": url(),
    "access_token": text(nonempty=True),
    "access_tokens": many(text()),
    "link_customization_name": text(),
    "appearance_mode": choice(("LIGHT", "DARK", "SYSTEM")),
    "redirect_uri": text(),
    "android_package_name": text(),
    "institution_data": record(routing_number=text(), institution_id=text()),
    "account_filters": ACCOUNT_FILTERS,
    "institution_id": text(),
    "auth": AUTH,
    "update": record(
        account_selection_enabled=flag(),
        reauthorization_enabled=flag(),
        user=flag(),
        item_ids=many(text()),
    ),
    "hosted_link": HOSTED_LINK,
    "transactions": record(days_requested=integer(1, 730)),
    "enable_multi_item_link": flag(),
    "user_token": text(),
    "third_party_user_token": text(),
    "consumer_report_permissible_purpose": text(),
    "cra_enabled": flag(),
    "financekit_supported": flag(),
    **dict.fromkeys(
        (
            "base_report",
            "card_switch",
            "cashflow_report",
            "cra_options",
            "cra_report_parameter",
            "credit_partner_insights",
            "deposit_switch",
            "employment",
            "eu_config",
            "identity",
            "identity_verification",
            "income_verification",
            "investments",
            "investments_auth",
            "payment_configuration",
            "payment_initiation",
            "statements",
            "transfer",
        ),
        free(),
    ),
}
