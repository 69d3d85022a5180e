"""`Plaid.create` and the pane: what they give back, in which order, in Link's shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from plaid_processors import ProcessorLinker
from plaid_processors.sandbox import LocalSandbox
from plaid_processors.testing import BANK, LinkPane

from .shapes import ACCOUNT_KEYS, ERROR_KEYS, EVENT_KEYS, EXIT_KEYS, SUCCESS_KEYS
from .shop import Shop

pytestmark = pytest.mark.browser

Recording = Callable[..., Callable[[str], list[Any]]]


@pytest.fixture
def new_token(linker: ProcessorLinker) -> Callable[..., str]:
    """Makes link tokens."""

    def make(partner: Any = "layer", **options: Any) -> str:
        return linker.create_link_token(
            partner, client_user_id="user-42", client_name="Acme Books", **options
        ).link_token

    return make


def names(calls: Callable[[str], list[Any]]) -> list[str]:
    """The events, each view by its name."""
    return [
        name if name != "TRANSITION_VIEW" else told["view_name"] for name, told in calls("onEvent")
    ]


def closed(page: Any) -> None:
    page.wait_for_selector("dialog", state="hidden")


def held(page: Any, action: str) -> Callable[[], None]:
    """Hold the pane's requests for this action; the function returned lets one of them go on."""
    waiting: list[Any] = []

    def hold(route: Any) -> None:
        waiting.append(route)

    page.route(f"**/_sandbox/link/{action}", hold)

    def let_go() -> None:
        while not waiting:
            page.wait_for_timeout(20)
        waiting.pop().continue_()

    return let_go


def test_success_and_its_events(page: Any, recording: Recording, new_token: Any) -> None:
    """The events in Link's order, and one onSuccess in Link's shape."""
    calls = recording(new_token())
    page.click("#open")
    person = LinkPane(page)
    person.choose_bank()
    person.sign_in(password="pass_bad")
    person.frame.get_by_role("alert").wait_for()
    person.sign_in()
    person.choose_accounts(["0000", "3333"])
    person.finish()
    closed(page)

    assert names(calls) == [
        "OPEN", "CONSENT", "SELECT_INSTITUTION", "SEARCH_INSTITUTION", "SELECT_INSTITUTION",
        "CREDENTIAL", "SUBMIT_CREDENTIALS", "LOADING", "ERROR",
        "CREDENTIAL", "SUBMIT_CREDENTIALS", "LOADING", "SELECT_ACCOUNT", "LOADING", "CONNECTED",
        "HANDOFF",
    ]  # fmt: skip
    ((public_token, metadata),) = calls("onSuccess")
    assert public_token.startswith("public-sandbox-")
    assert [account["mask"] for account in metadata["accounts"]] == ["0000", "3333"]
    assert [set(account) for account in metadata["accounts"]] == [ACCOUNT_KEYS] * 2
    assert metadata["institution"] == {"institution_id": "ins_109508", "name": BANK}
    assert set(metadata) == SUCCESS_KEYS
    assert (metadata["account"], metadata["transfer_status"]) == (None, None)
    events = [told for _, told in calls("onEvent")]
    assert {frozenset(told) for told in events} == {frozenset(EVENT_KEYS)}
    assert {told["link_session_id"] for told in events} == {metadata["link_session_id"]}
    assert {told["is_update_mode"] for told in events} == {"false"}
    (error,) = [told for name, told in calls("onEvent") if name == "ERROR"]
    assert error["error_code"] == "INVALID_CREDENTIALS"
    assert calls("onExit") == []


def test_a_search_is_told_once(page: Any, recording: Recording, new_token: Any) -> None:
    """Also when the user takes longer to choose than Link waits before it tells the search."""
    calls = recording(new_token())
    page.click("#open")
    person = LinkPane(page)
    person.sees("Choose your bank")
    person.frame.get_by_label("Search for your bank").fill("Tartan")
    person.frame.get_by_text("1 bank found").wait_for()
    person.press("Tartan Bank")
    person.sees("Sign in to Tartan Bank")
    told = [told for name, told in calls("onEvent") if name == "SEARCH_INSTITUTION"]
    assert [each["institution_search_query"] for each in told] == ["Tartan"]
    assert names(calls)[3:5] == ["SEARCH_INSTITUTION", "SELECT_INSTITUTION"]


def test_the_events_are_kept_for_link_token_get(
    page: Any, recording: Recording, sandbox: LocalSandbox, new_token: Any
) -> None:
    """The server has what onEvent was told, in its order."""
    token = new_token()
    calls = recording(token)
    page.click("#open")
    LinkPane(page).connect()
    closed(page)
    page.wait_for_timeout(200)
    keys = {"client_id": sandbox.client_id, "secret": sandbox.secret}
    body = {**keys, "link_token": token}
    told = page.request.post(f"{sandbox.url}/link/token/get", data=body).json()
    (session,) = told["link_sessions"]
    assert [each["event_name"] for each in session["events"]] == [n for n, _ in calls("onEvent")]


def test_leaving(page: Any, recording: Recording, new_token: Any) -> None:
    """There is an onExit without an error, with the bank and what Link was waiting for."""
    calls = recording(new_token())
    page.click("#open")
    person = LinkPane(page)
    person.choose_bank()
    person.sees(f"Sign in to {BANK}")
    person.leave()
    closed(page)

    ((error, metadata),) = calls("onExit")
    assert error is None
    assert set(metadata) == EXIT_KEYS
    assert (metadata["institution"]["name"], metadata["status"]) == (BANK, "requires_credentials")
    assert names(calls)[-2:] == ["EXIT", "EXIT"]
    assert calls("onSuccess") == []
    page.wait_for_function("document.activeElement.id === 'open'")


def test_leaving_while_it_opens(page: Any, recording: Recording, new_token: Any) -> None:
    """Leaving waits for the session that begins, and nothing is shown or told after the exit."""
    answer = held(page, "open")
    calls = recording(new_token())
    page.click("#open")
    person = LinkPane(page)
    person.press("Leave")
    answer()
    person.sees("Leave without connecting a bank?")
    person.press("Leave")
    closed(page)
    assert names(calls) == ["OPEN", "CONSENT", "SELECT_INSTITUTION", "EXIT", "EXIT"]

    page.click("#open")
    page.evaluate("handler.exit({force: true})")
    answer()
    closed(page)
    page.wait_for_timeout(200)
    assert names(calls)[5:] == ["OPEN", "CONSENT", "SELECT_INSTITUTION", "EXIT"]
    assert len(calls("onExit")) == 2


def test_leaving_while_the_bank_is_asked(page: Any, recording: Recording, new_token: Any) -> None:
    """The answer that comes after the exit shows nothing."""
    answer = held(page, "log_in")
    calls = recording(new_token())
    page.click("#open")
    person = LinkPane(page)
    person.choose_bank()
    person.sign_in()
    person.press("Leave")
    closed(page)
    answer()
    page.wait_for_timeout(200)
    assert names(calls)[-2:] == ["LOADING", "EXIT"]


def test_not_leaving_after_all(page: Any, recording: Recording, new_token: Any) -> None:
    """What was typed is still there."""
    calls = recording(new_token())
    page.click("#open")
    person = LinkPane(page)
    person.choose_bank()
    person.frame.get_by_label("Username").fill("user_custom")
    person.press("Leave")
    person.press("Go on")
    assert person.frame.get_by_label("Username").input_value() == "user_custom"
    assert calls("onExit") == []


@pytest.mark.parametrize(
    "code",
    [
        "NO_ACCOUNTS",
        *(
            pytest.param(each, marks=pytest.mark.full)
            for each in ("ITEM_LOCKED", "INSTITUTION_DOWN", "INVALID_MFA")
        ),
    ],
)
def test_an_error_and_a_way_back(
    page: Any, recording: Recording, new_token: Any, code: str
) -> None:
    """A password that fails shows Link's error; the same bank can be tried again."""
    calls = recording(new_token())
    page.click("#open")
    person = LinkPane(page)
    person.choose_bank()
    person.sign_in(password=f"error_{code}")
    person.sees("That did not work")
    person.frame.get_by_text(f"/ {code}").wait_for()
    person.press("Try again")
    person.sign_in()
    person.choose_accounts(["0000"])
    person.finish()
    closed(page)
    assert "ERROR" in names(calls)
    assert len(calls("onSuccess")) == 1


def test_leaving_after_an_error(page: Any, recording: Recording, new_token: Any) -> None:
    """What onExit gets has the error."""
    calls = recording(new_token())
    page.click("#open")
    person = LinkPane(page)
    person.choose_bank()
    person.sign_in(password="error_ITEM_LOCKED")
    person.sees("That did not work")
    person.leave()
    closed(page)
    ((error, _),) = calls("onExit")
    assert set(error) == ERROR_KEYS
    assert error["error_code"] == "ITEM_LOCKED"


def test_the_code_that_a_bank_asks_for(page: Any, recording: Recording, new_token: Any) -> None:
    """A wrong code is told, the right one goes on."""
    calls = recording(new_token())
    page.click("#open")
    person = LinkPane(page)
    person.choose_bank()
    person.sign_in(password="mfa_device")
    for code in ("9999", "1234"):
        person.sees("Enter the code")
        person.frame.get_by_label("Code", exact=True).fill(code)
        person.press("Go on")
        if code == "9999":
            person.frame.get_by_role("alert").wait_for()
    person.choose_accounts(["0000"])
    person.finish()
    closed(page)
    assert names(calls).count("SUBMIT_MFA") == 2


def test_another_bank(page: Any, recording: Recording, new_token: Any) -> None:
    """From the sign-in one can go back to the banks."""
    calls = recording(new_token())
    page.click("#open")
    person = LinkPane(page)
    person.choose_bank()
    person.press("Choose another bank")
    person.choose_bank("Tartan Bank", search="TARTAN")
    person.sign_in()
    person.choose_accounts(["0000"])
    person.finish()
    closed(page)
    assert calls("onSuccess")[0][1]["institution"]["name"] == "Tartan Bank"


def test_a_custom_user(page: Any, recording: Recording, new_token: Any) -> None:
    """A JSON password brings accounts of one's own."""
    calls = recording(new_token())
    page.click("#open")
    person = LinkPane(page)
    person.choose_bank()
    account = '{"type": "depository", "subtype": "savings", "meta": {"mask": "4242"}}'
    person.sign_in("user_custom", f'{{"override_accounts": [{account}]}}')
    person.sees("Choose accounts")
    assert person.offered() == ["4242"]
    person.choose_accounts(["4242"])
    person.finish()
    closed(page)
    assert calls("onSuccess")[0][1]["account"]["subtype"] == "savings"


def test_the_customization_of_one_account(page: Any, recording: Recording, new_token: Any) -> None:
    """Where it says so, accounts exclude each other."""
    calls = recording(new_token("finix", link_customization_name="one-account"))
    page.click("#open")
    person = LinkPane(page)
    person.choose_bank()
    person.sign_in()
    person.sees("Choose one account")
    assert person.frame.get_by_role("radio").count() == 2
    person.press("Go on")
    person.frame.get_by_text("Choose an account.").wait_for()
    person.choose_accounts(["0000"])
    person.finish()
    closed(page)
    assert calls("onSuccess")[0][1]["account"]["mask"] == "0000"


def test_an_expired_link_token(
    page: Any, recording: Recording, new_token: Any, sandbox: LocalSandbox
) -> None:
    """Link says so, and onExit has INVALID_LINK_TOKEN."""
    token = new_token()
    sandbox.advance(5 * 60 * 60)
    calls = recording(token)
    page.click("#open")
    person = LinkPane(page)
    person.sees("That did not work")
    person.frame.get_by_role("button", name="Leave").last.click()
    closed(page)
    ((error, metadata),) = calls("onExit")
    assert error["error_code"] == "INVALID_LINK_TOKEN"
    assert set(metadata) == EXIT_KEYS


def test_opened_before_it_is_loaded(page: Any, recording: Recording, new_token: Any) -> None:
    """`open` waits for onLoad."""
    calls = recording(new_token(), begin="make().open();")
    LinkPane(page).sees("Choose your bank")
    assert calls("onLoad") == [[]]


def test_exit_by_the_page(page: Any, recording: Recording, new_token: Any) -> None:
    """With `force` it closes at once; without, the user is asked."""
    calls = recording(new_token())
    page.click("#open")
    person = LinkPane(page)
    person.sees("Choose your bank")
    page.evaluate("handler.exit()")
    person.sees("Leave without connecting a bank?")
    assert calls("onExit") == []
    page.evaluate("handler.exit({force: true})")
    closed(page)
    assert [error for error, _ in calls("onExit")] == [None]


def test_exit_when_it_is_done(page: Any, recording: Recording, new_token: Any) -> None:
    """Who has connected a bank has, whichever way Link closes."""
    calls = recording(new_token())
    page.click("#open")
    person = LinkPane(page)
    person.choose_bank()
    person.sign_in()
    person.choose_accounts(["0000"])
    person.sees("Connected")
    page.evaluate("handler.exit({force: true})")
    closed(page)
    assert (len(calls("onSuccess")), calls("onExit")) == (1, [])


def test_destroy(page: Any, recording: Recording, new_token: Any) -> None:
    """The iframe is gone, and nothing is called any more."""
    calls = recording(new_token())
    page.click("#open")
    LinkPane(page).sees("Choose your bank")
    page.evaluate("handler.destroy(); handler.destroy(); handler.open()")
    assert page.locator("iframe").count() == 0
    assert (calls("onExit"), calls("onSuccess")) == ([], [])


def test_without_a_token(page: Any, recording: Recording) -> None:
    """`create` says what is missing."""
    recording("", begin="try { make() } catch (error) { calls.push(['thrown', error.message]) }")
    assert "token" in page.evaluate("calls[0][1]")


def test_submit_does_nothing(page: Any, recording: Recording, new_token: Any) -> None:
    """It has no part in this flow; a slip in its argument is told."""
    recording(new_token())
    page.evaluate("handler.submit({phone_number: '+14155550123'})")
    assert page.evaluate("try { handler.submit() } catch (error) { error.name }") == "TypeError"


def test_embedded(page: Any, recording: Recording, new_token: Any) -> None:
    """`createEmbedded` puts the pane into the page itself."""
    begin = """
      const place = document.body.appendChild(document.createElement("div"));
      window.embedded = Plaid.createEmbedded({token: TOKEN, onSuccess: note("onSuccess")}, place);
    """
    token = new_token()
    calls = recording(token, begin=begin.replace("TOKEN", f'"{token}"'))
    LinkPane(page).connect()
    LinkPane(page).sees("Done")
    assert len(calls("onSuccess")) == 1
    page.evaluate("embedded.destroy()")
    assert page.locator("iframe").count() == 0


def test_update_mode(
    page: Any, recording: Recording, linker: ProcessorLinker, sandbox: LocalSandbox, new_token: Any
) -> None:
    """It goes straight to the bank's sign-in, and the Item is good again."""
    item = linker.link_sandbox("layer")
    sandbox.advance(31 * 24 * 60 * 60)
    calls = recording(new_token(access_token=item.access_token))
    page.click("#open")
    person = LinkPane(page)
    person.sign_in()
    person.sees("The connection is good again")
    person.press("Finish")
    closed(page)

    assert len(linker.accounts(item.access_token)) == 14
    assert {told["is_update_mode"] for _, told in calls("onEvent")} == {"true"}
    assert "SELECT_INSTITUTION" not in names(calls)
    assert len(calls("onSuccess")[0][1]["accounts"]) == 14


def test_update_mode_with_other_accounts(
    page: Any, recording: Recording, linker: ProcessorLinker, sandbox: LocalSandbox, new_token: Any
) -> None:
    """The accounts shared so far are chosen already, and can be changed."""
    first = sandbox.complete_link(new_token(), masks=["0000", "3333"])
    item = linker.link("layer", public_token=first.public_token, metadata=first.metadata)
    recording(new_token(access_token=item.access_token, account_selection_enabled=True))
    page.click("#open")
    person = LinkPane(page)
    person.sign_in()
    person.sees("Choose accounts")
    assert person.frame.get_by_role("checkbox", checked=True).count() == 2
    person.frame.get_by_label("…3333").uncheck()
    person.choose_accounts(["1111"])
    person.press("Finish")
    closed(page)
    masks = [account.mask for account in linker.accounts(item.access_token)]
    assert masks == ["0000", "1111"]


def test_a_bank_with_a_page_of_its_own(
    page: Any, context: Any, recording: Recording, new_token: Any
) -> None:
    """It opens in a window, where the user may refuse, and allow."""
    calls = recording(new_token())
    page.click("#open")
    person = LinkPane(page)
    person.choose_bank("Platypus OAuth Bank")
    for answer in ("Refuse", "Allow"):
        with context.expect_page() as window:
            person.press("Go to the bank")
        window.value.get_by_role("button", name=answer).click()
        if answer == "Refuse":
            person.sees("That did not work")
            person.press("Try again")
    person.choose_accounts(["0000"])
    person.finish()
    closed(page)
    assert calls("onSuccess")[0][1]["institution"]["name"] == "Platypus OAuth Bank"
    assert [name for name in names(calls) if name.endswith("_OAUTH")] == [
        "OPEN_OAUTH", "CLOSE_OAUTH", "FAIL_OAUTH", "OPEN_OAUTH", "CLOSE_OAUTH",
    ]  # fmt: skip


def test_coming_back_by_the_redirect_uri(
    page: Any, recording: Recording, new_token: Any, open_shop: Callable[[str], Shop]
) -> None:
    """The bank's page sends the user back, and Link goes on by `receivedRedirectUri`."""
    back = open_shop("layer").page("/back", "<!doctype html><title>Back</title>")
    token = new_token(redirect_uri=back)
    recording(token)
    page.click("#open")
    LinkPane(page).choose_bank("Platypus OAuth Bank")
    LinkPane(page).press("Go to the bank")
    page.get_by_role("button", name="Allow").click()
    page.wait_for_url("**/back?oauth_state_id=*")
    received = page.url

    calls = recording(token, begin=f"make({{receivedRedirectUri: '{received}'}}).open();")
    person = LinkPane(page)
    person.choose_accounts(["0000"])
    person.finish()
    closed(page)
    assert len(calls("onSuccess")) == 1
