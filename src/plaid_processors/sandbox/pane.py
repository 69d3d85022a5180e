"""The requests of Link's pane, step by step: the user's part, done by a person.

Each action gets what the pane sent and returns what it shows next, or raises the error that Link
shows. `linking` does the work, and does all steps in one call for code.
"""

from __future__ import annotations

from collections.abc import Callable

from . import linking
from .bank import bank_to_link, banks
from .errors import PlaidError
from .linking import (
    allowed_accounts,
    bank_for_token,
    institution_view,
    selects_anew,
    selects_one,
)
from .model import Account, Bank, LinkRun, LinkToken
from .users import GOOD_PASSWORD, GOOD_USER, accounts_of_user, log_in_again
from .wire import Json, to_json
from .world import World

# https://plaid.com/docs/sandbox/test-credentials/: the valid code.
GOOD_CODE = "1234"
_MFA_PASSWORD = "mfa_"  # noqa: S105 - the Sandbox's
_MAX_EVENTS = 1000
_LARGEST_EVENT = 10_000


def open_link(world: World, body: Json) -> Json:
    """Begin a session, or continue the one that an OAuth bank sends the user back to."""
    token = _find_token(world, body)
    state = body.get("oauth_state_id")
    run = _returned(world, token, state) if state else _new_run(world, token)
    hosted = token.options.get("hosted_link") or {}
    return {
        "session": run.session.link_session_id,
        "client_name": token.options["client_name"],
        "update_mode": token.update_item is not None,
        "bank": _bank_view(run),
        "banks": [
            institution_view(bank)
            for bank in banks().values()
            if bank.country in token.options["country_codes"]
        ],
        "completion_redirect_uri": hosted.get("completion_redirect_uri"),
        **(_logged_in(world, run) if state else {}),
    }


def _find_token(world: World, body: Json) -> LinkToken:
    if "hosted" in body:
        page = f"/link/{body['hosted']}"
        found = [each for each in world.link_tokens.values() if _is_hosted_at(each, page)]
        text = found[0].token if found else ""
    else:
        text = str(body.get("token"))
    try:
        return linking.find_link_token(world, text)
    except ValueError as error:
        raise PlaidError("INVALID_LINK_TOKEN", str(error)) from None


def _is_hosted_at(token: LinkToken, page: str) -> bool:
    return token.hosted_link_url is not None and token.hosted_link_url.endswith(page)


def _new_run(world: World, token: LinkToken) -> LinkRun:
    item = token.update_item
    run = LinkRun(
        token=token, session=linking.begin(world, token), bank=item.bank if item else None
    )
    world.link_runs[run.session.link_session_id] = run
    return run


def _returned(world: World, token: LinkToken, state: str) -> LinkRun:
    for run in world.link_runs.values():
        if run.token is token and run.oauth_state == state:
            return run
    words = "oauth state ID is not known: open Link with the token that it was left with"
    raise PlaidError("INVALID_LINK_TOKEN", words)


def _find_run(world: World, body: Json) -> LinkRun:
    run = world.link_runs.get(str(body.get("session")))
    if run is None or run.session.finished_at is not None:
        raise PlaidError("INVALID_LINK_TOKEN", "this Link session is over")
    return run


def choose_bank(world: World, body: Json) -> Json:
    """Choose a bank; one with its own page is visited there."""
    run, chosen = _find_run(world, body), str(body.get("institution_id"))
    item = run.token.update_item
    if item and chosen != item.bank.institution_id:
        raise PlaidError("INVALID_INSTITUTION", "update mode is for the Item's own bank")
    run.bank = bank_for_token(run.token, chosen)
    return {"bank": _bank_view(run)}


def _bank_view(run: LinkRun) -> Json | None:
    return {**institution_view(run.bank), "oauth": run.bank.oauth} if run.bank else None


def log_in(world: World, body: Json) -> Json:
    """Sign in at the bank."""
    run, password = _find_run(world, body), str(body.get("password"))
    if run.bank is None:
        raise PlaidError("INVALID_INSTITUTION")
    bank_to_link(run.bank.institution_id)
    _log_in(run, run.bank, str(body.get("username")), password)
    run.code_wanted = password.startswith(_MFA_PASSWORD)
    return {"code_wanted": True} if run.code_wanted else _logged_in(world, run)


def _log_in(run: LinkRun, bank: Bank, username: str, password: str) -> None:
    item = run.token.update_item
    if item:
        log_in_again(item, username, password)
    run.accounts = item.accounts if item else accounts_of_user(bank, username, password)
    run.offered = allowed_accounts(run.token, run.accounts)
    run.login = (username, password)


def give_code(world: World, body: Json) -> Json:
    """Answer the bank's question for a code."""
    run = _find_run(world, body)
    if body.get("code") != GOOD_CODE:
        raise PlaidError("INVALID_MFA")
    run.code_wanted = False
    return _logged_in(world, run)


def visit_bank(world: World, body: Json) -> Json:
    """Go to the bank's own page, with a state for the return."""
    run = _find_run(world, body)
    run.oauth_state = world.ids.uuid("oauth")
    return {
        "state": run.oauth_state,
        "page": f"/_sandbox/link/bank/{run.oauth_state}",
        "redirect_uri": run.token.options.get("redirect_uri"),
    }


def allow_at_bank(world: World, body: Json) -> Json:
    """Allow or refuse the access, at the bank's own page."""
    for run in world.link_runs.values():
        if run.oauth_state == body.get("state") and run.bank and not run.session.finished_at:
            item = run.token.update_item
            if body.get("allow"):
                # The bank knows the user of its own page: the Item's, or the usual one.
                known = (item.username, item.password) if item else (GOOD_USER, GOOD_PASSWORD)
                _log_in(run, run.bank, *known)
            else:
                run.accounts, run.offered = [], []
            return {
                "bank": _bank_view(run),
                "client_name": run.token.options["client_name"],
                "redirect_uri": run.token.options.get("redirect_uri"),
            }
    raise PlaidError("INVALID_LINK_TOKEN", "this visit to the bank is over")


def after_visit(world: World, body: Json) -> Json:
    """Continue after the bank's own page."""
    return _logged_in(world, _find_run(world, body))


def _logged_in(world: World, run: LinkRun) -> Json:
    """Show the accounts to choose from; a repair alone has no choice of accounts."""
    if not run.accounts:
        raise PlaidError("ACCESS_NOT_GRANTED" if run.oauth_state else "NO_ACCOUNTS")
    if run.code_wanted:
        raise PlaidError("INVALID_MFA")
    item = run.token.update_item
    if item and not selects_anew(run.token):
        return {"accounts": None}
    if not run.offered:
        raise PlaidError("NO_ACCOUNTS", "no account fits the link token's products and filters")
    return {
        "accounts": [
            {
                "place": place,
                "name": account.name,
                "mask": account.mask,
                "subtype": account.subtype or account.type,
                "shared": bool(item and account.account_id in item.shared),
            }
            for place, account in enumerate(run.offered)
        ],
        "select": "one" if selects_one(world, run.token) else "many",
    }


def finish(world: World, body: Json) -> Json:
    """End with the chosen accounts, given by their places in the list."""
    run = _find_run(world, body)
    if not run.accounts or run.bank is None or run.code_wanted:
        raise PlaidError("INVALID_CREDENTIALS")
    item = run.token.update_item
    if item and not selects_anew(run.token):
        linking.mend(world, run.token, item, None)
    elif item:
        linking.mend(world, run.token, item, _chosen(world, run, body))
    else:
        chosen = _chosen(world, run, body)
        item = linking.connect(world, run.token, run.bank, run.login, run.accounts, chosen)
    done = linking.succeed(world, run.token, run.session, item)
    return {"public_token": done.public_token, "metadata": done.metadata}


def _chosen(world: World, run: LinkRun, body: Json) -> list[Account]:
    places = body.get("accounts")
    fit = isinstance(places, list) and all(place in range(len(run.offered)) for place in places)
    if not fit or not places or (selects_one(world, run.token) and len(places) > 1):
        raise PlaidError("INVALID_FIELD", "accounts must name accounts that Link offered")
    return [run.offered[place] for place in sorted(set(places))]


def leave(world: World, body: Json) -> Json:
    """End without an Item."""
    run = _find_run(world, body)
    code, status = body.get("error_code"), _text_or_none(body.get("status"))
    error = PlaidError(str(code), _text_or_none(body.get("error_message"))) if code else None
    left = linking.leave(world, run.token, run.session, run.bank, error, status)
    return {"error": left.error, "metadata": left.metadata}


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def note_event(world: World, body: Json) -> Json:
    """Keep an event of `onEvent`, for `/link/token/get`."""
    run = world.link_runs.get(str(body.get("session")))
    told = body.get("metadata")
    small = len(to_json(body)) <= _LARGEST_EVENT
    if run and isinstance(told, dict) and small and len(run.session.events) < _MAX_EVENTS:
        event = {
            "event_id": world.ids.uuid("event"),
            "event_metadata": told,
            "event_name": str(body.get("name")),
            "timestamp": str(told.get("timestamp")),
        }
        run.session.events.append(event)
    return {}


ACTIONS: dict[str, Callable[[World, Json], Json]] = {
    "open": open_link,
    "choose_bank": choose_bank,
    "log_in": log_in,
    "give_code": give_code,
    "visit_bank": visit_bank,
    "allow_at_bank": allow_at_bank,
    "after_visit": after_visit,
    "finish": finish,
    "leave": leave,
    "event": note_event,
}
