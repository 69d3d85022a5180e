"""Banks, and the keys that webhooks are signed with."""

from __future__ import annotations

import datetime as dt

from plaid_processors.sandbox.bank import BANK_PRODUCTS, find_bank
from plaid_processors.sandbox.calls import Call, endpoint
from plaid_processors.sandbox.clock import stamp
from plaid_processors.sandbox.errors import PlaidError
from plaid_processors.sandbox.fields import choice, flag, many, record, required, text
from plaid_processors.sandbox.model import Bank
from plaid_processors.sandbox.wire import Json

from .link_fields import COUNTRIES

_HEALTH = {"HEALTHY": (0.9, 0.01), "DEGRADED": (0.42, 0.08), "DOWN": (0.0, 0.01)}


@endpoint(
    "/institutions/get_by_id",
    institution_id=required(text(nonempty=True)),
    country_codes=required(many(choice(COUNTRIES), least=1)),
    options=record(
        include_optional_metadata=flag(),
        include_status=flag(),
        include_auth_metadata=flag(),
        include_payment_initiation_metadata=flag(),
    ),
)
def institution(call: Call) -> Json:
    """Show a bank; https://plaid.com/docs/api/institutions/."""
    bank = find_bank(call["institution_id"])
    if bank.country not in call["country_codes"]:
        raise PlaidError("INVALID_INSTITUTION")
    shown: Json = {
        "connection_availability": "SUPPORTED" if bank.supported else "NOT_SUPPORTED",
        "country_codes": [bank.country],
        "dtc_numbers": [],
        "institution_id": bank.institution_id,
        "name": bank.name,
        "oauth": bank.oauth,
        "products": list(BANK_PRODUCTS),
        "routing_numbers": ["011401533"] if bank.country == "US" else [],
    }
    if call.option("include_optional_metadata"):
        shown |= {"logo": None, "primary_color": "#174e7c", "url": "https://www.plaid.com/"}
    if call.option("include_status"):
        shown["status"] = _status(bank, call.now)
    if call.option("include_auth_metadata"):
        shown["auth_metadata"] = {"supported_methods": _AUTH_METHODS}
    if call.option("include_payment_initiation_metadata") and bank.country == "GB":
        shown["payment_initiation_metadata"] = _PAYMENT_INITIATION
    return {"institution": shown}


_PAYMENT_INITIATION = {
    "supports_international_payments": True,
    "supports_sepa_instant": False,
    "maximum_payment_amount": {"GBP": "10000"},
    "supports_refund_details": True,
    "standing_order_metadata": {
        "supports_standing_order_end_date": True,
        "supports_standing_order_negative_execution_days": True,
        "valid_standing_order_intervals": ["WEEKLY", "MONTHLY"],
    },
    "supports_payment_consents": True,
}
_AUTH_METHODS = {
    "instant_auth": True,
    "instant_match": False,
    "automated_micro_deposits": False,
    "instant_micro_deposits": False,
}


def _status(bank: Bank, now: dt.datetime) -> Json:
    success, plaid = _HEALTH[bank.health]
    health: Json = {
        "status": bank.health,
        "last_status_change": stamp(now - dt.timedelta(days=1)),
        "breakdown": {
            "success": success,
            "error_plaid": plaid,
            "error_institution": round(1 - success - plaid, 2),
        },
    }
    return dict.fromkeys(("item_logins", "transactions_updates", "auth", "identity"), health)


@endpoint("/webhook_verification_key/get", key_id=required(text()))
def webhook_key(call: Call) -> Json:
    """Show a key; https://plaid.com/docs/api/webhooks/webhook-verification/."""
    return {"key": call.world.signer.find(call["key_id"]).public_jwk()}
