"""The steps of each call, as generators without I/O.

A flow yields what is to be done next, and is sent what came of it (or thrown it, if it failed):

- `Call`: send this request; its value comes back.
- `Prepare`: so many requests will follow; open connections, if that helps.
- `Start`: send these requests, side by side if you can; nothing comes back.
- `Next`: wait for the next of the started ones; its place and outcome come back.
- `Tell`: call the caller's callback.

The shells (`linker`) do these, each in its own way; the order of the steps is here alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from attrs import evolve, fields

from . import calls
from .calls import Call
from .errors import (
    ItemNotFoundError,
    LinkIncompleteError,
    PlaidApiError,
    PlaidConnectionError,
    PlaidProcessorsError,
    mark_unfinished,
)
from .redaction import mask
from .results import (
    Account,
    Environment,
    LinkedItem,
    LinkResult,
    LinkToken,
    PendingPartner,
    PendingToken,
    ProcessorToken,
)
from .selection import Choice, by_ids
from .sessions import LinkSession

T = TypeVar("T")

OnExchange = Callable[[LinkedItem], object]
OnToken = Callable[[ProcessorToken], object]


class Prepare(NamedTuple):
    """So many requests will go side by side soon: open connections, if that helps."""

    requests: int


class Start(NamedTuple):
    """Send these requests, side by side if you can."""

    calls: Sequence[Call[ProcessorToken]]


class Next(NamedTuple):
    """Wait for the next of the started requests to come."""


class Tell(NamedTuple):
    """Call the caller's callback; its time does not count.

    Attributes:
        callback: what the caller gave.
        value: what it is called with.
        irrevocable: whether it has to be done even if the call is cancelled meanwhile.
    """

    callback: Callable[[Any], object]
    value: object
    irrevocable: bool = False


Step = Call[Any] | Prepare | Start | Next | Tell
Flow = Generator[Step, Any, T]


class Options(NamedTuple):
    """How the processor tokens are asked for and told.

    Attributes:
        on_token: told each token as it comes.
        partial: whether accounts that Plaid refuses are left pending rather than an error.
    """

    on_token: OnToken | None = None
    partial: bool = False


class Session(NamedTuple):
    """What Link's metadata tells of where the Item comes from."""

    institution_id: str | None = None
    institution_name: str | None = None
    link_session_id: str | None = None

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, object]) -> Session:
        """Read ``metadata`` as Link's onSuccess gives it."""
        institution = metadata.get("institution")
        bank = institution if isinstance(institution, Mapping) else {}

        def text(value: object) -> str | None:
            return value if isinstance(value, str) and value else None

        return cls(
            institution_id=text(bank.get("institution_id")),
            institution_name=text(bank.get("name")),
            link_session_id=text(metadata.get("link_session_id")),
        )


class Plan(NamedTuple):
    """What is to be linked.

    Attributes:
        choices: the partners, and what was said of their accounts.
        accounts: the accounts, or None to ask ``/accounts/get``.
        verify: whether ``/accounts/get`` is to confirm what the browser said of them.
    """

    choices: tuple[Choice, ...]
    accounts: tuple[Account, ...] | None = None
    verify: bool = False

    def pick(self, accounts: Sequence[Account]) -> tuple[PendingToken, ...]:
        """The tokens to ask for, ordered by partner, then account.

        Raises:
            AccountSelectionError: a partner's rule refuses.
        """
        return tuple(
            PendingToken(
                processor=choice.adapter.processor, account=account, permissions=choice.permissions
            )
            for choice in self.choices
            for account in choice.pick(accounts)
        )

    def picked_early(self) -> tuple[PendingToken, ...] | None:
        """The tokens to ask for, where they can be told before any request.

        Raises:
            AccountSelectionError: a partner's rule refuses.
        """
        if self.accounts is None:
            return None
        if not self.verify:
            return self.pick(self.accounts)
        for choice in self.choices:  # ids are the caller's word, not the browser's
            choice.bound(self.accounts)
        return None

    def pick_fetched(self, fetched: Sequence[Account]) -> tuple[PendingToken, ...]:
        """The tokens to ask for, by what ``/accounts/get`` said.

        Raises:
            AccountSelectionError: a partner's rule refuses, or an account is not the Item's.
        """
        if self.accounts is None:
            return self.pick(fetched)
        ids = [account.account_id for account in self.accounts]
        names = ", ".join(choice.adapter.processor for choice in self.choices)
        return self.pick(by_ids(ids, fetched, names))


def create_link_token(body: Mapping[str, object]) -> Flow[LinkToken]:
    """One request."""
    token: LinkToken = yield calls.create_link_token(body)
    return token


def session(link_token: str) -> Flow[LinkSession]:
    """One request."""
    told: LinkSession = yield calls.get_link_session(link_token)
    return told


def accounts(access_token: str) -> Flow[tuple[Account, ...]]:
    """One request."""
    found: tuple[Account, ...] = yield calls.get_accounts(access_token)
    return found


def remove(access_token: str) -> Flow[bool]:
    """One request; an Item that is already gone is no error."""
    try:
        yield calls.remove_item(access_token)
    except ItemNotFoundError as error:
        if error.error_code != "ITEM_NOT_FOUND":
            raise
        # Gone by an attempt of this call whose answer was lost, or gone before.
        return error.outcome_unknown
    return True


def link(
    plan: Plan,
    public_token: str,
    environment: Environment,
    session: Session,
    *,
    on_exchange: OnExchange | None,
    options: Options,
) -> Flow[LinkResult]:
    """Exchange, tell, choose the accounts, one processor token for each."""
    picked = plan.picked_early()
    landing = _Landing(_Progress().planned(plan, picked), environment, session)
    if picked is not None and len(picked) > 1:
        yield Prepare(len(picked))
    with _kept(landing):
        try:
            progress: _Progress = yield calls.exchange(public_token, landing.land)
        except Exception as error:
            if landing.result is not None:  # it came, and something failed on its way here
                raise _incomplete(landing.result, _Trouble(error)) from error
            if isinstance(error, (PlaidApiError, PlaidConnectionError)):
                _add_support(error, environment, session, public_token)
            raise
        except BaseException as error:
            if landing.result is None:  # a KeyboardInterrupt, say, before the answer came
                known = {"time": _now(), **_known(environment, session, public_token)}
                error.add_note(_ask_plaid(known))
            raise
        trouble = yield from _guarded(_after_exchange(progress, plan, on_exchange, options))
        result = progress.result
    if trouble is not None:
        raise _incomplete(result, trouble) from trouble.error
    return result


def _after_exchange(
    progress: _Progress,
    plan: Plan,
    on_exchange: OnExchange | None,
    options: Options,
) -> Flow[_Trouble | None]:
    if on_exchange is not None:
        try:
            yield Tell(on_exchange, progress.item, irrevocable=True)
        except Exception as error:  # noqa: BLE001  no generator lets a StopIteration through
            return _Trouble(error)
    return (yield from _finish(progress, plan, options))


class _Landing:
    """Where the Item lands the moment its answer is parsed, on whatever thread that is.

    Not when the flow goes on: a KeyboardInterrupt may come between the two. All that is to come is
    planned before, so that to land is no more than to be kept.
    """

    def __init__(self, coming: _Progress, environment: Environment, session: Session) -> None:
        self._coming = coming
        self._known = {"environment": environment, **session._asdict()}

    def land(self, access_token: str, item_id: str | None, request_id: str | None) -> _Progress:
        """Keep what the exchange gave."""
        self._coming.known = {
            "access_token": access_token,
            "item_id": item_id,
            "request_id": request_id,
            **self._known,
        }
        return self._coming

    @property
    def result(self) -> LinkResult | None:
        """The result so far, or None where no Item landed."""
        return self._coming.result if self._coming.known else None


def _add_support(
    error: PlaidApiError | PlaidConnectionError,
    environment: Environment,
    session: Session,
    public_token: str,
) -> None:
    """Where Plaid may have made an Item although the exchange failed, say what to do then."""
    if error.outcome_unknown:
        known = {
            "time": error.occurred_at and error.occurred_at.isoformat(timespec="seconds"),
            "request_id": error.request_id,
            **_known(environment, session, public_token),
        }
        error.support = {name: value for name, value in known.items() if value}
        error.advice = _ask_plaid(error.support)


def _known(environment: Environment, session: Session, public_token: str) -> dict[str, str | None]:
    """What is known of an exchange without its answer."""
    return {
        "endpoint": calls.EXCHANGE,
        "environment": environment.value,
        "public_token": mask(public_token),
        **session._asdict(),
    }


def _ask_plaid(known: Mapping[str, str | None]) -> str:
    details = ", ".join(f"{name} {value}" for name, value in known.items() if value)
    return (
        "An Item may exist whose access token nobody has. Let the user link again; and ask "
        "Plaid's support (https://dashboard.plaid.com/support) whether there is such an Item, "
        f"and to remove it: {details}."
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def link_sandbox(
    plan: Plan,
    institution_id: str,
    products: Sequence[str],
    bank_options: Mapping[str, object] | None,
    environment: Environment,
    *,
    on_exchange: OnExchange | None,
    options: Options,
) -> Flow[LinkResult]:
    """A public token without Link, then as `link`."""
    public_token: str = yield calls.create_sandbox_public_token(
        institution_id, products, bank_options
    )
    session = Session(institution_id=institution_id)
    return (
        yield from link(
            plan, public_token, environment, session, on_exchange=on_exchange, options=options
        )
    )


def issue(plan: Plan, result: LinkResult, options: Options) -> Flow[LinkResult]:
    """The processor tokens for an Item that exists."""
    progress = _Progress.of_result(result).planned(plan, plan.picked_early())
    return (yield from _continue(progress, plan, options))


def resume(plan: Plan | None, result: LinkResult, options: Options) -> Flow[LinkResult]:
    """What is missing of a result; ``plan`` is for its partners without accounts."""
    progress = _Progress.of_result(result)
    if plan is not None and (picked := plan.picked_early()) is not None:
        progress.expect(picked)
    return (yield from _continue(progress, plan, options))


def _continue(progress: _Progress, plan: Plan | None, options: Options) -> Flow[LinkResult]:
    before = progress.issued
    with _kept(progress):
        trouble = yield from _guarded(_finish(progress, plan, options))
        result = progress.result
    if trouble is None:
        return result
    if progress.issued == before:
        # Nothing was achieved, and the Item was the caller's before.
        raise trouble.error
    raise _incomplete(result, trouble) from trouble.error


class _Trouble(NamedTuple):
    """What went wrong first, and the fate of each token that did not come."""

    error: Exception
    errors: Sequence[tuple[PendingToken, PlaidProcessorsError]] = ()


def _guarded(steps: Flow[_Trouble | None]) -> Flow[_Trouble | None]:
    """The steps, with whatever fails in them as a value."""
    try:
        return (yield from steps)
    except Exception as error:  # noqa: BLE001  the caller's callbacks may raise anything
        return _Trouble(error)


@contextmanager
def _kept(progress: _Progress | _Landing) -> Iterator[None]:
    """See that what has to come out as itself takes the result along."""
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        if progress.result is not None:
            mark_unfinished(error, progress.result)
        raise


def _finish(progress: _Progress, plan: Plan | None, options: Options) -> Flow[_Trouble | None]:
    """Choose the accounts where that is still to do, then ask for the tokens."""
    if plan is not None and progress.unselected:
        fetched: tuple[Account, ...] = yield calls.get_accounts(progress.access_token)
        progress.expect(plan.pick_fetched(fetched))
    return (yield from _issue_all(progress, options))


def _issue_all(progress: _Progress, options: Options) -> Flow[_Trouble | None]:
    """Ask for what is pending; then narrow what is to be narrowed, before anybody hears of it."""
    fates = _Fates()
    if not progress.pending:
        yield Start(())  # a flow has at least one step
    wanted = [each for each in progress.pending if each.unnarrowed is None]
    token = progress.access_token
    requests = [calls.create_processor_token(w.processor, token, w.account) for w in wanted]
    yield from _ask(progress, wanted, requests, options, fates)
    # Both are pending: what was issued now, and what an earlier call left.
    issued = [(each, each.unnarrowed) for each in progress.pending]
    unnarrowed = [each for each, token in issued if token is not None]
    narrowings = [
        calls.narrow(token, each.permissions or ()) for each, token in issued if token is not None
    ]
    yield from _ask(progress, unnarrowed, narrowings, options, fates)
    # A token that could not be narrowed is more than an account that is refused.
    partial = options.partial and not progress.unnarrowed
    return fates.trouble(progress, partial=partial)


def _ask(
    progress: _Progress,
    wanted: Sequence[PendingToken],
    requests: Sequence[Call[ProcessorToken]],
    options: Options,
    fates: _Fates,
) -> Flow[None]:
    """Send these requests side by side, and tell each token that is ready as it comes."""
    if not wanted:
        return
    yield Start(requests)
    for _ in wanted:
        place, outcome = yield Next()
        ready = progress.arrived(wanted[place], outcome)
        if isinstance(outcome, PlaidProcessorsError):
            fates.failed[wanted[place].key] = outcome
        if options.on_token is not None and ready is not None:
            try:
                yield Tell(options.on_token, ready)
            except Exception as error:  # noqa: BLE001  the other tokens are told all the same
                fates.untold.append(error)


class _Fates:
    """What became of the requests that did not go well."""

    def __init__(self) -> None:
        self.failed: dict[tuple[str, str], PlaidProcessorsError] = {}
        self.untold: list[Exception] = []

    def trouble(self, progress: _Progress, *, partial: bool) -> _Trouble | None:
        pending = [each for each in progress.pending if each.key in self.failed]
        errors = [(each, self.failed[each.key]) for each in pending]
        if self.untold:
            return _Trouble(self.untold[0], errors)
        if errors and not (partial and _only_refusals(progress, self.failed)):
            return _Trouble(errors[0][1], errors)
        return None


def _only_refusals(
    progress: _Progress, failed: Mapping[tuple[str, str], PlaidProcessorsError]
) -> bool:
    """Whether some tokens came, and Plaid itself refused the others."""
    refused = all(isinstance(error, PlaidApiError) for error in failed.values())
    return refused and len(progress.pending) < len(progress.entries)


def _incomplete(result: LinkResult, trouble: _Trouble) -> LinkIncompleteError:
    return LinkIncompleteError(
        f"the Item exists, but {_what_is_missing(result)}: {_words(trouble.error)} Store "
        "error.result (it holds the access token) and finish with resume(error.result).",
        result=result,
        errors=trouble.errors,
    )


def _what_is_missing(result: LinkResult) -> str:
    if result.unselected:
        names = ", ".join(each.processor for each in result.unselected)
        return f"the accounts for {names} are not chosen"
    if unnarrowed := sum(each.unnarrowed is not None for each in result.pending):
        return f"{unnarrowed} of {len(result.entries)} processor tokens are not narrowed yet"
    if result.pending:
        return f"{len(result.pending)} of {len(result.entries)} processor tokens are missing"
    return "a callback failed"


def _words(error: Exception) -> str:
    # The words of a callback's own error may hold what the callback was given.
    words = str(error) if isinstance(error, PlaidProcessorsError) else type(error).__name__
    return words if words.endswith(".") else f"{words}."


class _Progress:
    """What a link has come to so far, whatever happens next.

    Not a result, which would be made anew with each step, and each of its fields checked again.

    Attributes:
        known: what a `LinkedItem` tells of the Item; empty as long as there is none.
        entries: the tokens, those that came and those that are missing.
        unselected: the partners whose accounts are not chosen yet.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.known: Mapping[str, Any] = {}
        self.entries: tuple[ProcessorToken | PendingToken, ...] = ()
        self.unselected: tuple[PendingPartner, ...] = ()

    @classmethod
    def of_result(cls, result: LinkResult) -> _Progress:
        """Go on from a result."""
        progress = cls()
        progress.known = {each.name: getattr(result, each.name) for each in fields(LinkedItem)}
        progress.entries, progress.unselected = result.entries, result.unselected
        return progress

    def planned(self, plan: Plan, picked: tuple[PendingToken, ...] | None) -> _Progress:
        """What is to come: these tokens, or some for these partners."""
        if picked is None:
            self.unselected = tuple(choice.as_pending() for choice in plan.choices)
        else:
            self.expect(picked)
        return self

    @property
    def item(self) -> LinkedItem:
        """The Item."""
        return LinkedItem(**self.known)

    @property
    def result(self) -> LinkResult:
        """All of it, as a value."""
        return LinkResult(**self.known, entries=self.entries, unselected=self.unselected)

    @property
    def access_token(self) -> str:
        """The Item's."""
        token: str = self.known["access_token"]
        return token

    @property
    def pending(self) -> tuple[PendingToken, ...]:
        """The tokens that are missing."""
        return tuple(each for each in self.entries if isinstance(each, PendingToken))

    @property
    def unnarrowed(self) -> int:
        """How many tokens came that are still to be narrowed."""
        return sum(each.unnarrowed is not None for each in self.pending)

    @property
    def issued(self) -> int:
        """How many tokens there are; one that is narrowed counts twice, as it got further."""
        return 2 * (len(self.entries) - len(self.pending)) + self.unnarrowed

    def expect(self, tokens: tuple[PendingToken, ...]) -> None:
        """The accounts are chosen: these tokens are to come."""
        chosen = {each.processor for each in tokens}
        self.entries += tokens
        self.unselected = tuple(each for each in self.unselected if each.processor not in chosen)

    def arrived(
        self, wanted: PendingToken, outcome: ProcessorToken | PlaidProcessorsError
    ) -> ProcessorToken | None:
        """A token came, or the reason why it did not; the token, if it is ready to be told."""
        entry: ProcessorToken | PendingToken
        if not isinstance(outcome, ProcessorToken):
            entry = _with_reason(wanted, outcome)
        elif wanted.permissions is not None and wanted.unnarrowed is None:
            entry = evolve(wanted, unnarrowed=outcome, error_code=None, error_message=None)
        else:
            entry = outcome
        key = entry.key
        self.entries = tuple(entry if each.key == key else each for each in self.entries)
        return entry if isinstance(entry, ProcessorToken) else None


def _with_reason(wanted: PendingToken, error: PlaidProcessorsError) -> PendingToken:
    if isinstance(error, PlaidApiError):
        return evolve(wanted, error_code=error.error_code, error_message=error.error_message)
    return evolve(wanted, error_code=type(error).__name__, error_message=str(error))
