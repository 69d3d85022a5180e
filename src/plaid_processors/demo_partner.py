"""The demo's partners: what Finix and Layer do with their tokens, over HTTP, with keys of theirs.

Not this SDK's user but the other side of it, so it speaks with Plaid by itself.
"""

from __future__ import annotations

import datetime as dt
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from .errors import PlaidProcessorsError
from .results import ProcessorToken

_PATIENCE = 30
_DAYS = 90


@frozen(kw_only=True)
class PartnerSide:
    """A partner, with its own keys at Plaid.

    Attributes:
        url: where Plaid is.
        keys: `client_id` and `secret` of the partner's.
    """

    url: str
    keys: Mapping[str, str]

    def numbers(self, token: ProcessorToken) -> str:
        """What Finix needs to pay: account and routing number."""
        ach = self._open("/processor/auth/get", token)["numbers"]["ach"]
        return f"account {ach['account']}, routing {ach['routing']}"

    def owner(self, token: ProcessorToken) -> str:
        """Whose account it is."""
        names = self._open("/processor/identity/get", token)["account"]["owners"][0]["names"]
        return f"owner {names[0]}"

    def books(self, token: ProcessorToken) -> str:
        """What Layer keeps books by: the balance and the transactions."""
        account = self._open("/processor/balance/get", token)["account"]
        today = dt.datetime.now(dt.UTC).date()
        period = {
            "start_date": str(today - dt.timedelta(days=_DAYS)),
            "end_date": str(today),
            "options": {"count": 1},
        }
        told = self._open("/processor/transactions/get", token, **period)
        balance = f"{account['balances']['current']:,.2f}"
        return f"balance {balance:>10}, {told['total_transactions']:>3} transactions"

    def refusal_of_all_accounts(self, token: ProcessorToken) -> str:
        """What Plaid says when a processor token is used as the key to the whole Item."""
        try:
            self._ask("/accounts/get", access_token=token.processor_token)
        except urllib.error.HTTPError as error:
            with error:
                return str(json.load(error)["error_code"])
        raise PlaidProcessorsError("a processor token opened all accounts of its Item")

    def _open(self, path: str, token: ProcessorToken, **more: Any) -> dict[str, Any]:
        told = self._ask(path, processor_token=token.processor_token, **more)
        if told["account"]["account_id"] != token.account.account_id:
            raise PlaidProcessorsError(f"a token of {token.account.label} opened another account")
        return told

    def _ask(self, path: str, **body: Any) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the local Plaid's own address
            self.url + path,
            json.dumps({**self.keys, **body}).encode(),
            {"Content-Type": "application/json"},
        )
        # No proxy stands between this process and its own local Plaid.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_PATIENCE) as answer:
            told: dict[str, Any] = json.load(answer)
        return told
