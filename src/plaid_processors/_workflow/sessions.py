"""A Link session: how it went, and the links of its Items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Unpack

from .._plaid import requests
from .._plaid.call import PlaidCall
from ..adapters.catalogue import get_adapters
from ..errors import LinkSessionError, PlaidProcessorsError
from ..life import as_results
from ..results import LinkResult
from ..sessions import LinkSession, SessionItem, SessionState
from ..store.books import Books
from .arguments import checked_token
from .link import link
from .plan import Options, Partners


async def session(call: PlaidCall, link_token: str) -> LinkSession:
    token = checked_token("link_token", link_token, call.environment)
    return await call.ask(requests.get_link_session(token))


async def link_session(
    begin: Callable[[], PlaidCall],
    books: Books | None,
    partner: Partners,
    link_token: str,
    *,
    client_user_id: str | None,
    earlier: Iterable[LinkResult] | None,
    on_duplicate: str,
    **options: Unpack[Options],
) -> tuple[LinkResult, ...]:
    """Link each Item of a finished session, in a call of its own; one that fails holds up none."""
    adapters = get_adapters(partner)
    known = None if earlier is None else as_results(earlier)
    found = await session(begin(), link_token)
    if not found.items:
        raise LinkSessionError(_why_without_items(found), session=found)
    results: list[LinkResult] = []
    failures: list[tuple[SessionItem, PlaidProcessorsError]] = []
    try:  # around all, as Ctrl-C may strike after any call
        for item in found.items:
            try:
                results.append(
                    await link(
                        begin(),
                        books,
                        adapters,
                        public_token=item.public_token,
                        client_user_id=client_user_id,
                        accounts=None,
                        metadata=item.metadata,
                        earlier=None if known is None else (*known, *results),
                        on_duplicate=on_duplicate,
                        **options,
                    )
                )
            except PlaidProcessorsError as error:
                failures.append((item, error))
        linked = tuple(results)
    except BaseException as interruption:
        if results or failures:
            interruption.__cause__ = _incomplete(found, results, failures)
        raise
    if not failures:
        return linked
    if len(found.items) == 1:  # as `link` raises it
        raise failures[0][1]
    raise _incomplete(found, results, failures) from failures[0][1]


def _why_without_items(found: LinkSession) -> str:
    if found.state is SessionState.WAITING:
        return "the user is not through Link yet: call again after the webhook SESSION_FINISHED"
    if found.state is SessionState.EXITED:
        code = found.error and found.error.error_code
        return f"the user left Link and connected no bank ({code or 'without an error'})"
    return "the session made no Item: after update mode, go on with the access token that you have"


def _incomplete(
    found: LinkSession,
    results: Sequence[LinkResult],
    failures: Sequence[tuple[SessionItem, PlaidProcessorsError]],
) -> LinkSessionError:
    listed = "; ".join(f"{item.institution_name or 'an Item'}: {e}" for item, e in failures)
    return LinkSessionError(
        f"{len(results)} of {len(found.items)} Items of the session are linked: store "
        f"error.results. {listed or 'The others were not tried'}",
        session=found,
        results=results,
        failures=failures,
    )
