"""How long the partners' tokens live. Most do not expire; these do."""

from __future__ import annotations

from datetime import timedelta

STRIPE = "stripe"
"""No value of ``processor``: Stripe's token has an endpoint of its own."""

# "Do processor tokens expire?", https://support.plaid.com/hc/en-us/articles/14977241619991
LIFETIMES = {"dwolla": timedelta(hours=1), "unit": timedelta(hours=24)}

# "one-time use", https://plaid.com/docs/auth/partnerships/stripe/
SINGLE_USE = frozenset({STRIPE})
