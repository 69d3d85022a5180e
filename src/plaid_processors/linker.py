"""ProcessorLinker: the facade, and the shell that drives the flow with blocking calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from . import flow, requests
from .calls import Call
from .client import PlaidClient
from .deadline import Deadline
from .errors import ConfigurationError
from .flow import Flow, Next, OnExchange, OnToken, Start, Step, Tell
from .requests import AccountIds, Accounts, Partner, checked_token
from .results import Account, Environment, LinkResult, LinkToken

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from typing_extensions import Unpack

    from .settings import LimitOptions

T = TypeVar("T")


class ProcessorLinker:
    """From Link's public token to the partners' processor tokens.

    A context manager; closing it closes its client. One linker may serve many threads.
    """

    def __init__(self, client: PlaidClient) -> None:
        """Work with this client."""
        if not isinstance(client, PlaidClient):
            raise TypeError(f"client must be a PlaidClient, not {type(client).__name__}")
        self._client = client

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, **limits: Unpack[LimitOptions]
    ) -> Self:
        """A linker of its own client; the arguments are those of `PlaidClient.from_env`."""
        return cls(PlaidClient.from_env(environ, **limits))

    def __repr__(self) -> str:
        return f"ProcessorLinker({self._client!r})"

    @property
    def client(self) -> PlaidClient:
        """The client that it works with."""
        return self._client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def create_link_token(
        self,
        partner: Partner,
        *,
        client_user_id: str,
        client_name: str,
        products: Iterable[str] | None = None,
        language: str = "en",
        country_codes: Iterable[str] = ("US",),
        user: Mapping[str, object] | None = None,
        required_if_supported_products: Iterable[str] | None = None,
        optional_products: Iterable[str] | None = None,
        additional_consented_products: Iterable[str] | None = None,
        account_filters: Mapping[str, object] | None = None,
        link_customization_name: str | None = None,
        webhook: str | None = None,
        redirect_uri: str | None = None,
        android_package_name: str | None = None,
        hosted_link: Mapping[str, object] | None = None,
        access_token: str | None = None,
        account_selection_enabled: bool | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> LinkToken:
        """What the browser opens Link with (https://plaid.com/docs/api/link/#linktokencreate).

        Args:
            partner: a name, an adapter, or several; they tell the products and the filter.
            client_user_id: your id of the user; never a name, an email or a phone number.
            client_name: your application's name, as Link shows it (at most 30 characters).
            products: other products than the partners' own.
            language: what Link speaks, such as ``"en"``, ``"es"`` or ``"fr"``.
            country_codes: where the banks are.
            user: more about the user, such as ``{"phone_number": "+12025550123"}``.
            required_if_supported_products: asked for at the banks that have them.
            optional_products: likewise, but nothing fails without them.
            additional_consented_products: consented to now, used later.
            account_filters: other filters than the partners' own.
            link_customization_name: a customization made in the Dashboard.
            webhook: where Plaid sends webhooks of this Item.
            redirect_uri: where OAuth banks send the user back to; must be in the Dashboard's list.
            android_package_name: likewise, for an Android app.
            hosted_link: ``{}`` or its options, for a page of Plaid's (``hosted_link_url``).
            access_token: of the Item to repair; Link opens in update mode.
            account_selection_enabled: in update mode, whether accounts can be chosen anew.
            extra: any other field of the request.

        Raises:
            UnknownProcessorError: a partner's name is not known.
            PlaidApiError: Plaid refused.
            PlaidConnectionError: no usable answer came.
        """
        body = requests.link_token_body(
            partner,
            self._environment,
            client_user_id=client_user_id,
            client_name=client_name,
            products=products,
            language=language,
            country_codes=country_codes,
            user=user,
            access_token=access_token,
            account_selection_enabled=account_selection_enabled,
            account_filters=account_filters,
            lists={
                "required_if_supported_products": required_if_supported_products,
                "optional_products": optional_products,
                "additional_consented_products": additional_consented_products,
            },
            options={
                "link_customization_name": link_customization_name,
                "webhook": webhook,
                "redirect_uri": redirect_uri,
                "android_package_name": android_package_name,
                "hosted_link": hosted_link,
            },
            extra=extra,
        )
        return self._run(flow.create_link_token(body))

    def link(
        self,
        partner: Partner,
        *,
        public_token: str,
        accounts: Accounts | None = None,
        metadata: Mapping[str, object] | None = None,
        account_id: str | None = None,
        account_ids: AccountIds | None = None,
        verify_accounts: bool = False,
        partial: bool = False,
        on_exchange: OnExchange | None = None,
        on_token: OnToken | None = None,
    ) -> LinkResult:
        """Exchange Link's public token and make a processor token for each account.

        Args:
            partner: a name, an adapter, or several.
            public_token: from Link's onSuccess.
            accounts: ``metadata.accounts`` of onSuccess; None: ask ``/accounts/get``.
            metadata: all of onSuccess's metadata: accounts, institution and session.
            account_id: the account for every partner.
            account_ids: the accounts for some, such as ``{"finix": ["…"]}``.
            verify_accounts: ask ``/accounts/get`` what the accounts really are; the browser is
                not to be trusted with their subtypes.
            partial: leave the accounts that Plaid refuses pending, rather than raise.
            on_exchange: called with the `LinkedItem` as soon as it exists: store it there.
            on_token: called with each `ProcessorToken` as it comes.

        Raises:
            AccountSelectionError: a partner's rule refuses the accounts; nothing was sent.
            PublicTokenError: the public token is used, expired or unknown.
            LinkIncompleteError: the Item exists and what came after failed: see its ``result``.
            PlaidApiError: Plaid refused the exchange.
            PlaidConnectionError: no usable answer came; see ``outcome_unknown``.
        """
        session, listed = requests.link_metadata(metadata, accounts)
        requests.check_callback("on_exchange", on_exchange)
        return self._run(
            flow.link(
                requests.plan(
                    partner,
                    listed,
                    account_id=account_id,
                    account_ids=account_ids,
                    verify_accounts=verify_accounts,
                ),
                checked_token("public_token", public_token, "public", self._environment),
                self._environment,
                session,
                on_exchange=on_exchange,
                options=requests.checked_options(on_token, partial),
            )
        )

    def link_sandbox(
        self,
        partner: Partner,
        *,
        institution_id: str = "ins_109508",
        products: Iterable[str] | None = None,
        options: Mapping[str, object] | None = None,
        account_id: str | None = None,
        account_ids: AccountIds | None = None,
        partial: bool = False,
        on_exchange: OnExchange | None = None,
        on_token: OnToken | None = None,
    ) -> LinkResult:
        """Link a bank of the Sandbox without a browser, then as `link`.

        The accounts come from ``/accounts/get``; where nobody can be asked, a partner of one
        account gets the first that its rule allows.

        Args:
            partner: a name, an adapter, or several.
            institution_id: a bank of https://plaid.com/docs/sandbox/institutions/.
            products: other products than the partners' own.
            options: of ``/sandbox/public_token/create``, such as ``{"override_username": …}``.
            account_id: the account for every partner.
            account_ids: the accounts for some.
            partial: as in `link`.
            on_exchange: as in `link`.
            on_token: as in `link`.

        Raises:
            ConfigurationError: the client is not of the Sandbox.
            LinkIncompleteError: as in `link`, like all else.
        """
        if self._environment is not Environment.SANDBOX:
            raise ConfigurationError("link_sandbox works in the Sandbox only")
        requests.check_callback("on_exchange", on_exchange)
        plan = requests.plan(
            partner, None, account_id=account_id, account_ids=account_ids, first_fitting=True
        )
        return self._run(
            flow.link_sandbox(
                plan,
                requests.checked_text("institution_id", institution_id),
                requests.sandbox_products(plan, products),
                options,
                self._environment,
                on_exchange=on_exchange,
                options=requests.checked_options(on_token, partial),
            )
        )

    def issue(
        self,
        partner: Partner,
        *,
        access_token: str,
        accounts: Accounts | None = None,
        item_id: str | None = None,
        account_id: str | None = None,
        account_ids: AccountIds | None = None,
        verify_accounts: bool = False,
        partial: bool = False,
        on_token: OnToken | None = None,
    ) -> LinkResult:
        """Make processor tokens for an Item that already exists.

        Args:
            partner: a name, an adapter, or several.
            access_token: of the Item.
            accounts: its accounts, where known; None: ask ``/accounts/get``.
            item_id: its id, where known, for the result.
            account_id: as in `link`, like all others.
            account_ids: likewise.
            verify_accounts: likewise.
            partial: likewise.
            on_token: likewise.

        Raises:
            LinkIncompleteError: some tokens were issued and some failed.
            PlaidApiError: Plaid refused, and no token was issued.
            PlaidConnectionError: no usable answer came, and no token was issued.
        """
        result = LinkResult(
            access_token=checked_token("access_token", access_token, "access", self._environment),
            item_id=item_id,
            environment=self._environment,
        )
        plan = requests.plan(
            partner,
            accounts,
            account_id=account_id,
            account_ids=account_ids,
            verify_accounts=verify_accounts,
        )
        return self._run(flow.issue(plan, result, requests.checked_options(on_token, partial)))

    def resume(
        self,
        result: LinkResult,
        *,
        partner: Partner | None = None,
        accounts: Accounts | None = None,
        account_id: str | None = None,
        account_ids: AccountIds | None = None,
        verify_accounts: bool = False,
        partial: bool = False,
        on_token: OnToken | None = None,
    ) -> LinkResult:
        """Ask for what is missing of a result, and for nothing else.

        Args:
            result: from ``error.result``, or from `LinkResult.from_dict`.
            partner: an adapter of your own that the result knows only by name.
            accounts: what was missing to choose the accounts; None: ask ``/accounts/get``.
            account_id: likewise.
            account_ids: likewise.
            verify_accounts: as in `link`, like all others.
            partial: likewise.
            on_token: likewise.

        Raises:
            LinkIncompleteError: some tokens were issued and some failed.
            PlaidApiError: Plaid refused, and no token was issued.
            PlaidConnectionError: no usable answer came, and no token was issued.
            ConfigurationError: the result is of another environment.
        """
        if not isinstance(result, LinkResult):
            raise TypeError(f"result must be a LinkResult, not {type(result).__name__}")
        if result.environment is not self._environment:
            raise ConfigurationError(
                f"the result is of the environment {result.environment.value!r}, "
                f"but this client is of {self._environment.value!r}"
            )
        plan = requests.resume_plan(
            result,
            partner,
            accounts,
            account_id=account_id,
            account_ids=account_ids,
            verify_accounts=verify_accounts,
        )
        return self._run(flow.resume(plan, result, requests.checked_options(on_token, partial)))

    def accounts(self, access_token: str) -> tuple[Account, ...]:
        """The Item's accounts (``/accounts/get``: at most 15 a minute for an Item)."""
        token = checked_token("access_token", access_token, "access", self._environment)
        return self._run(flow.accounts(token))

    def remove(self, access_token: str) -> bool:
        """Remove the Item: billing ends, and the partners' tokens of it are void.

        Returns:
            True if it was removed now, False if it was gone already.
        """
        token = checked_token("access_token", access_token, "access", self._environment)
        return self._run(flow.remove(token))

    @property
    def _environment(self) -> Environment:
        return self._client.environment

    def _run(self, steps: Flow[T]) -> T:
        shell = _Shell(self._client)
        try:
            return shell.run(steps)
        finally:
            steps.close()


class _Shell:
    """Does the steps of one flow, with blocking calls."""

    def __init__(self, client: PlaidClient) -> None:
        self._client = client
        self._deadline: Deadline = client.begin()
        self._started: Iterator[tuple[int, Any]] = iter(())

    def run(self, steps: Flow[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    came = self._do(step)
                except BaseException as error:  # noqa: BLE001  the flow decides what it means
                    step = steps.throw(error)
                else:
                    step = steps.send(came)
        except StopIteration as end:
            value: T = end.value
            return value

    def _do(self, step: Step) -> object:
        match step:
            case Call():
                return self._client.send(step, self._deadline)
            case Start(calls):
                self._started = self._client.send_all(calls, self._deadline)
                return None
            case Next():
                return next(self._started)
            case Tell(callback, value):
                with self._deadline.paused():
                    return callback(value)
