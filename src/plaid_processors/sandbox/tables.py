"""Tables of facts: tab-separated files in `data/`.

Their sources:
    accounts: the default user's accounts, seen on the Sandbox in September 2026.
    countries, languages, products, subtypes: Plaid's OpenAPI description and its newer
        clients, 2026; `billed` from https://plaid.com/docs/account/billing/, `scopes` from
        https://plaid.com/docs/link/data-transparency-messaging-migration-guide/.
    errors: https://plaid.com/docs/errors/, March 2026; INVALID_PROCESSOR seen in 2021;
        COUNTRY_NOT_SUPPORTED from https://plaid.com/docs/sandbox/test-credentials/, which has
        neither its type nor its message.
    habits: made up.
    institutions: https://plaid.com/docs/sandbox/institutions/; names of the special test
        banks approximate. `tan`: https://plaid.com/docs/auth/#tokenized-account-numbers;
        `relink`: https://plaid.com/docs/link/duplicate-items/; `keeps`:
        https://plaid.com/docs/link/update-mode/; `consent_days`:
        https://plaid.com/docs/link/oauth/#refreshing-item-consent; Monzo and Starling:
        https://plaid.com/docs/link/oauth/#qr-code-authentication; `routing`: Plaid's OpenAPI
        description (Houndstooth Bank) and plaid-go's tests (Bank of America).
    limits: https://plaid.com/docs/errors/rate-limit-exceeded/, the Sandbox's columns.
    processors: the description and the newer clients; names from the partners' pages.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files


@cache
def table(name: str) -> tuple[dict[str, str], ...]:
    """Read `data/<name>.tsv`: one dict for each row, by the header's names."""
    text = files(__package__).joinpath("data", f"{name}.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return tuple(dict(row) for row in rows)
