"""The code that a user would write with plaid-python: the loop of Plaid's page.

https://plaid.com/docs/api/processors/ and https://plaid.com/docs/auth/partnerships/.
"""

from __future__ import annotations

import plaid
from plaid.api import plaid_api
from plaid.model.item_public_token_exchange_request import ItemPublicTokenExchangeRequest
from plaid.model.processor_token_create_request import ProcessorTokenCreateRequest

CLIENT_ID = "0123456789abcdef01234567"
SECRET = "5e" * 15
PUBLIC_TOKEN = "public-sandbox-5e171e1b-aaaa-4bbb-8ccc-0123456789ab"


def make_api(url: str, connections: int | None = None) -> plaid_api.PlaidApi:
    configuration = plaid.Configuration(host=url, api_key={"clientId": CLIENT_ID, "secret": SECRET})
    configuration.connection_pool_maxsize = connections
    return plaid_api.PlaidApi(plaid.ApiClient(configuration))


def link(api: plaid_api.PlaidApi, account_ids: list[str]) -> list[str]:
    exchanged = api.item_public_token_exchange(
        ItemPublicTokenExchangeRequest(public_token=PUBLIC_TOKEN)
    )
    return [
        api.processor_token_create(
            ProcessorTokenCreateRequest(
                access_token=exchanged["access_token"], account_id=each, processor="layer"
            )
        )["processor_token"]
        for each in account_ids
    ]
