"""ProcessorLinker: the calls of the workflow, blocking."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from typing import Literal, Self

from attrs import evolve

from ._engine.ports import BlockingPort, run
from ._plaid.call import PlaidCall
from ._workflow import life, recovery, sessions
from ._workflow import link as workflow
from ._workflow.handing_over import hand_over
from ._workflow.ledger import Hands
from ._workflow.link_tokens import create_link_token
from ._workflow.plan import AccountIds, Accounts, OnExchange, OnToken, Partners
from ._workflow.webhooks import verify_webhook
from .client import PlaidClient
from .events import OnEvent
from .handoff.layer_tokens import Gone
from .life import LinkChanges, LinkStatus
from .results import Account, LinkResult, LinkToken
from .sessions import LinkSession
from .settings import Timeout
from .store.books import make_books
from .store.records import Handoff, LinkStore, RecoveryReport
from .webhooks.event import WebhookEvent
from .webhooks.verify import WebhookBody, WebhookHeaders


class BaseLinker:
    """What both linkers are: a client, limits for its calls, and perhaps a store."""

    _closes_client = False  # as long as its constructor has not ended

    def __init__(self, client: PlaidClient, *, store: LinkStore | None = None) -> None:
        """Work with a client.

        Args:
            client: the client; one may serve several linkers.
            store: where links are kept (docs/store.md), or None to keep them yourself; one may
                serve several linkers.

        Raises:
            TypeError: one of these is something else.
        """
        if not isinstance(client, PlaidClient):
            raise TypeError(f"client must be a PlaidClient, not {type(client).__name__}")
        self._client = client
        self._books = make_books(store, client.client_id, client.environment)
        self._limits = client.limits
        self._closes_client = True

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        timeout: Timeout = 30.0,
        deadline: float | None = 90.0,
        max_attempts: int = 3,
        max_connections: int = 8,
        proxy: str | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
        on_event: OnEvent | None = None,
        store: LinkStore | None = None,
    ) -> Self:
        """A linker of its own client, by the variables of the environment.

        These are PLAID_CLIENT_ID, PLAID_SECRET, PLAID_ENV and PLAID_BASE_URL.

        Args:
            environ: the variables to read; None: those of the process, ``os.environ``.
            timeout: seconds to connect and to wait for one answer, each, or a (connect, read) pair.
            deadline: seconds for one public call, retries and all, or None for no limit; time spent
                in your own callbacks does not count.
            max_attempts: how often one request is sent at most; 1 means no retry.
            max_connections: how many requests of the client run side by side at most.
            proxy: the address of a proxy; by default the variables HTTPS_PROXY and NO_PROXY decide.
            ca_bundle: a file or folder of trusted certificates; by default REQUESTS_CA_BUNDLE and
                SSL_CERT_FILE, else the system's.
            on_event: called with a `RequestEvent` for each request, answer, failure and retry.
            store: where links are kept (docs/store.md), or None to keep them yourself.

        Raises:
            ConfigurationError: a variable is missing or malformed.
        """
        return cls(
            PlaidClient.from_env(
                environ,
                timeout=timeout,
                deadline=deadline,
                max_attempts=max_attempts,
                max_connections=max_connections,
                proxy=proxy,
                ca_bundle=ca_bundle,
                on_event=on_event,
            ),
            store=store,
        )

    def with_options(
        self,
        *,
        timeout: Timeout | None = None,
        deadline: float | Literal["unchanged"] | None = "unchanged",
        max_attempts: int | None = None,
    ) -> Self:
        """A linker with other limits, on the same client, its connections and its store.

        Closing it closes nothing.

        Args:
            timeout: seconds to connect and seconds to wait for the answer of one request, each, or
                a (connect, read) pair; None leaves it as it is.
            deadline: seconds for one public call, retries and all, or None for no limit; left out,
                it stays as it is.
            max_attempts: how often one request is sent at most; None leaves it as it is.

        Raises:
            ConfigurationError: one of these is malformed.
        """
        limits = self._limits
        other = copy.copy(self)
        other._closes_client = False
        other._limits = evolve(
            limits,
            timeout=limits.timeout if timeout is None else timeout,
            deadline=limits.deadline if deadline == "unchanged" else deadline,
            max_attempts=limits.max_attempts if max_attempts is None else max_attempts,
        )
        return other

    def __repr__(self) -> str:
        return f"{type(self).__name__}({getattr(self, '_client', None)!r})"

    @property
    def client(self) -> PlaidClient:
        """The client that it works with."""
        return self._client

    @property
    def store(self) -> LinkStore | None:
        """The store that it keeps links in, if it was given one."""
        return None if self._books is None else self._books.store


class ProcessorLinker(BaseLinker):
    """From Link's public token to the partners' processor tokens.

    A context manager; closing it closes its client. One linker may serve many threads.
    """

    def create_link_token(
        self,
        partner: Partners,
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
        item_id: str | None = None,
        account_selection_enabled: bool | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> LinkToken:
        """What the browser opens Link with (https://plaid.com/docs/api/link/#linktokencreate).

        Args:
            partner: a partner's name, an adapter, or several; Link asks for the products that these
                need, and shows the accounts that they take.
            client_user_id: your id of the user; never a name, an email or a phone number.
            client_name: your application's name, as Link shows it (at most 30 characters).
            products: the products to ask for in place of the partners' own; in update mode none
                are asked for unless you name them.
            language: the language that Link speaks, such as ``"en"``, ``"es"`` or ``"fr"``.
            country_codes: the countries whose banks Link offers, such as ``["US"]``.
            user: more about the user, such as ``{"phone_number": "+12025550123"}``.
            required_if_supported_products: products to ask for at the banks that have them.
            optional_products: products to ask for where it makes nothing fail.
            additional_consented_products: products that the user consents to now, for later use.
            account_filters: the filter of accounts in place of the partners' own; ``{}`` for none.
            link_customization_name: a customization made in Plaid's Dashboard.
            webhook: the address where Plaid sends webhooks of this Item.
            redirect_uri: where OAuth banks send the user back to; it must be in the Dashboard's
                list.
            android_package_name: the Android app that OAuth banks send the user back to; it must be
                in the Dashboard's list.
            hosted_link: ``{}``, or Hosted Link's options, for a page of Plaid's
                (``hosted_link_url`` of the result).
            access_token: the access token of an Item to repair: Link opens in update mode, and asks
                for the consent that the partners' products still lack. For an Item of which Plaid
                has no record of consent, an older one, it asks for none.
            item_id: in place of ``access_token``, the id of an Item in the store.
            account_selection_enabled: in update mode, whether the user can choose accounts anew.
            extra: any other field of the request.

        Raises:
            UnknownProcessorError: a partner's name is not known.
            ConfigurationError: no products are known for these partners, or they contradict each
                other.
            PlaidApiError: Plaid refused.
            PlaidConnectionError: no usable answer came.
        """
        return run(
            create_link_token(
                self._call(),
                self._books,
                partner,
                client_user_id=client_user_id,
                client_name=client_name,
                products=products,
                language=language,
                country_codes=country_codes,
                user=user,
                required_if_supported_products=required_if_supported_products,
                optional_products=optional_products,
                additional_consented_products=additional_consented_products,
                account_filters=account_filters,
                link_customization_name=link_customization_name,
                webhook=webhook,
                redirect_uri=redirect_uri,
                android_package_name=android_package_name,
                hosted_link=hosted_link,
                access_token=access_token,
                item_id=item_id,
                account_selection_enabled=account_selection_enabled,
                extra=extra,
            )
        )

    def session(self, link_token: str) -> LinkSession:
        """How Link went for a link token, for a back end that has no front end of its own.

        With Hosted Link, send the user to ``hosted_link_url``, keep the link token beside the
        user's id, and ask here when the webhook SESSION_FINISHED comes. Plaid answers this for six
        hours after the session's end; of a Link in your own page it may say less. Where the user
        connected several Items (multi-Item Link), `link` each of the session's ``items``. If Link
        was opened several times, the session returned is the latest success, else the latest.

        Args:
            link_token: the token from `create_link_token`.

        Raises:
            PlaidApiError: Plaid does not know the link token, or refused.
            PlaidConnectionError: no usable answer came.
        """
        return run(sessions.session(self._call(), link_token))

    def verify_webhook(
        self, body: WebhookBody, headers: WebhookHeaders, *, max_age: float = 300
    ) -> WebhookEvent:
        """Check that a webhook is Plaid's, as it was sent, and recent; and say what it asks for.

        Answer 200 to every webhook that passes, known or not, and 400 to one that is refused. If
        Plaid cannot be asked for its key, let the error become a 5xx: Plaid sends it again. Needs
        PyJWT: ``pip install "plaid-processors[webhooks]"``. See docs/webhooks.md.

        Args:
            body: the request's raw body, bytes or text, before any parsing.
            headers: the request's headers: a mapping, or (name, value) pairs, in any case.
            max_age: how many seconds ago it may have been signed.

        Raises:
            WebhookVerificationError: it is refused: see its ``reason``.
            ConfigurationError: PyJWT is not installed, or ``max_age`` is not positive.
            PlaidApiError: Plaid refused to give its key, and it is not known yet.
            PlaidConnectionError: Plaid could not be asked for its key, and it is not known yet.
        """
        return run(verify_webhook(self._call(), body, headers, max_age=max_age))

    def link(
        self,
        partner: Partners,
        *,
        public_token: str,
        client_user_id: str | None = None,
        accounts: Accounts | None = None,
        metadata: Mapping[str, object] | None = None,
        account_id: str | None = None,
        account_ids: AccountIds | None = None,
        earlier: Iterable[LinkResult] | None = None,
        on_duplicate: Literal["raise", "allow"] = "raise",
        verify_accounts: bool = False,
        partial: bool = False,
        narrow: bool = False,
        on_exchange: OnExchange | None = None,
        on_token: OnToken | None = None,
    ) -> LinkResult:
        """Exchange Link's public token and make a processor token for each account.

        Args:
            partner: a partner's name, an adapter, or several.
            public_token: the token from Link's onSuccess.
            client_user_id: your id of the user; needed with a store, else not used.
            accounts: the accounts that the user connected (``metadata.accounts`` of onSuccess);
                None: ask ``/accounts/get``.
            metadata: all of onSuccess's metadata, by Link's web or mobile SDKs: accounts,
                institution and session.
            account_id: the account to use for every partner.
            account_ids: the accounts to use for single partners, such as ``{"finix": ["…"]}``.
            earlier: this user's earlier results, to refuse the same accounts a second time; it
                needs ``metadata``.
            on_duplicate: ``"raise"``, or ``"allow"`` to link the same accounts again.
            verify_accounts: whether to ask ``/accounts/get`` what the accounts really are; the
                browser is not to be trusted with their subtypes.
            partial: whether accounts that Plaid refuses are left pending, rather than an error.
            narrow: whether each token is limited to the products that its partner reads (its
                adapter's ``permissions``), before you get it; otherwise it opens all of the Item's.
            on_exchange: called with the `LinkedItem` as soon as it exists: store it there.
            on_token: called with each `ProcessorToken` as it comes.

        Raises:
            AccountSelectionError: a partner's rule refuses the accounts; nothing was sent.
            DuplicateItemError: the user has linked these accounts before; nothing was sent.
            PublicTokenError: the public token is used, expired or unknown.
            LinkIncompleteError: the Item exists and a later step failed: see its ``result``.
            PlaidApiError: Plaid refused the exchange.
            PlaidConnectionError: no usable answer came; see ``outcome_unknown``.
        """
        return run(
            workflow.link(
                self._call(),
                self._books,
                partner,
                public_token=public_token,
                client_user_id=client_user_id,
                accounts=accounts,
                metadata=metadata,
                account_id=account_id,
                account_ids=account_ids,
                earlier=earlier,
                on_duplicate=on_duplicate,
                verify_accounts=verify_accounts,
                partial=partial,
                narrow=narrow,
                on_exchange=on_exchange,
                on_token=on_token,
            )
        )

    def link_session(
        self,
        partner: Partners,
        link_token: str,
        *,
        client_user_id: str | None = None,
        earlier: Iterable[LinkResult] | None = None,
        on_duplicate: Literal["raise", "allow"] = "raise",
        verify_accounts: bool = False,
        partial: bool = False,
        narrow: bool = False,
        on_exchange: OnExchange | None = None,
        on_token: OnToken | None = None,
    ) -> tuple[LinkResult, ...]:
        """Link every Item of a finished session, one after the other, each as `link` does.

        For Hosted Link and multi-Item Link. Each Item is linked within a deadline of its own, and
        one that fails does not hold up the others. Call it once for a session: a public token can
        be exchanged once. An interruption has the results so far in its ``__cause__``, which is a
        `LinkSessionError`.

        Args:
            partner: a partner's name, an adapter, or several.
            link_token: the token from `create_link_token` that Link was opened with.
            client_user_id: your id of the user; needed with a store, else not used.
            earlier: this user's earlier results, to refuse the same accounts a second time.
            on_duplicate: ``"raise"``, or ``"allow"`` to link the same accounts again.
            verify_accounts: whether to ask ``/accounts/get`` what the accounts really are.
            partial: whether accounts that Plaid refuses are left pending, rather than an error.
            narrow: whether each token is limited to the products that its partner reads.
            on_exchange: called with each `LinkedItem` as soon as it exists: store it there.
            on_token: called with each `ProcessorToken` as it comes.

        Raises:
            LinkSessionError: the session is not over or has no Items; or some of its Items could
                not be linked: see ``results`` and ``failures``.
            PlaidProcessorsError: the only Item could not be linked: what `link` raises, such as
                `PublicTokenError` where it was linked before.
            PlaidApiError: Plaid does not know the link token, or refused.
            PlaidConnectionError: no usable answer came.
        """
        return run(
            sessions.link_session(
                self._call,
                self._books,
                partner,
                link_token,
                client_user_id=client_user_id,
                earlier=earlier,
                on_duplicate=on_duplicate,
                account_id=None,
                account_ids=None,
                verify_accounts=verify_accounts,
                partial=partial,
                narrow=narrow,
                on_exchange=on_exchange,
                on_token=on_token,
            )
        )

    def link_sandbox(
        self,
        partner: Partners,
        *,
        institution_id: str = "ins_109508",
        client_user_id: str | None = None,
        products: Iterable[str] | None = None,
        options: Mapping[str, object] | None = None,
        account_id: str | None = None,
        account_ids: AccountIds | None = None,
        partial: bool = False,
        narrow: bool = False,
        on_exchange: OnExchange | None = None,
        on_token: OnToken | None = None,
    ) -> LinkResult:
        """Link a bank of the Sandbox without a browser, then as `link`.

        The accounts come from ``/accounts/get``. Since no user can be asked, a partner of one
        account gets the first that its rule allows.

        Args:
            partner: a partner's name, an adapter, or several.
            institution_id: a bank of https://plaid.com/docs/sandbox/institutions/.
            client_user_id: your id of the user; needed with a store, else not used.
            products: the products to make the Item with, in place of the partners' own.
            options: the options of ``/sandbox/public_token/create``, such as
                ``{"override_username": …}``.
            account_id: the account to use for every partner.
            account_ids: the accounts to use for single partners, such as ``{"finix": ["…"]}``.
            partial: whether accounts that Plaid refuses are left pending, rather than an error.
            narrow: whether each token is limited to the products that its partner reads.
            on_exchange: called with the `LinkedItem` as soon as it exists: store it there.
            on_token: called with each `ProcessorToken` as it comes.

        Raises:
            ConfigurationError: the client is not of the Sandbox.
            LinkIncompleteError: the Item exists and a later step failed: see its ``result``.
            PlaidApiError: Plaid refused, and there is no Item.
            PlaidConnectionError: no usable answer came; see ``outcome_unknown``.
        """
        return run(
            workflow.link_sandbox(
                self._call(),
                self._books,
                partner,
                institution_id=institution_id,
                client_user_id=client_user_id,
                products=products,
                sandbox_options=options,
                account_id=account_id,
                account_ids=account_ids,
                partial=partial,
                narrow=narrow,
                on_exchange=on_exchange,
                on_token=on_token,
            )
        )

    def issue(
        self,
        partner: Partners,
        *,
        access_token: str | None = None,
        accounts: Accounts | None = None,
        item_id: str | None = None,
        account_id: str | None = None,
        account_ids: AccountIds | None = None,
        verify_accounts: bool = False,
        partial: bool = False,
        narrow: bool = False,
        on_token: OnToken | None = None,
    ) -> LinkResult:
        """Make processor tokens for an Item that already exists.

        Args:
            partner: a partner's name, an adapter, or several.
            access_token: the access token of the Item; with a store, its ``item_id`` is enough.
            accounts: the Item's accounts, where you know them; None: ask ``/accounts/get``.
            item_id: the Item's id, where you know it, for the result.
            account_id: the account to use for every partner.
            account_ids: the accounts to use for single partners, such as ``{"finix": ["…"]}``.
            verify_accounts: whether to ask ``/accounts/get`` what the given accounts really are.
            partial: whether accounts that Plaid refuses are left pending, rather than an error.
            narrow: whether each token is limited to the products that its partner reads.
            on_token: called with each `ProcessorToken` as it comes.

        Raises:
            AccountSelectionError: a partner's rule refuses the accounts.
            LinkIncompleteError: some tokens were issued and some failed.
            PlaidApiError: Plaid refused, and no token was issued.
            PlaidConnectionError: no usable answer came, and no token was issued.
        """
        return run(
            workflow.issue(
                self._call(),
                self._books,
                partner,
                access_token=access_token,
                accounts=accounts,
                item_id=item_id,
                account_id=account_id,
                account_ids=account_ids,
                verify_accounts=verify_accounts,
                partial=partial,
                narrow=narrow,
                on_token=on_token,
            )
        )

    def resume(
        self,
        result: LinkResult,
        *,
        partner: Partners | None = None,
        accounts: Accounts | None = None,
        account_id: str | None = None,
        account_ids: AccountIds | None = None,
        verify_accounts: bool = False,
        partial: bool = False,
        narrow: bool | None = None,
        on_token: OnToken | None = None,
    ) -> LinkResult:
        """Ask for what is missing of a result or has expired, and for nothing else.

        With a store, a token that `hand_over` handed over is not missing when it expires, and an
        account that `refresh` has found gone does not come back by an old result.

        Args:
            result: what there is: ``error.result``, or what `LinkResult.from_dict` read.
            partner: an adapter of your own that the result knows only by name.
            accounts: the accounts, where they were not known; None: ask ``/accounts/get``.
            account_id: the account to use for every partner whose accounts are not chosen yet, or
                for those of ``partner``.
            account_ids: the accounts to use for single partners, such as ``{"finix": ["…"]}``.
            verify_accounts: whether to ask ``/accounts/get`` what the given accounts really are.
            partial: whether accounts that Plaid refuses are left pending, rather than an error.
            narrow: True or False decides anew for what is still to come; None: as it was asked for.
                With False, a token that could not be narrowed is given to you as it is.
            on_token: called with each `ProcessorToken` as it comes.

        Raises:
            ConfigurationError: the result is of another environment.
            LinkIncompleteError: some tokens were issued and some failed.
            LinkInProgressError: with a store: another call was at work on the link until the end of
                this one's time.
            PlaidApiError: Plaid refused, and no token was issued.
            PlaidConnectionError: no usable answer came, and no token was issued.
        """
        return run(
            workflow.resume(
                self._call(),
                self._books,
                result,
                partner=partner,
                accounts=accounts,
                account_id=account_id,
                account_ids=account_ids,
                verify_accounts=verify_accounts,
                partial=partial,
                narrow=narrow,
                on_token=on_token,
            )
        )

    def status(
        self, access_token: str | LinkResult | None = None, *, item_id: str | None = None
    ) -> LinkStatus:
        """How the Item stands, by what Plaid says of it now.

        An Item that needs repair, was revoked or is gone is a status, not an exception. Asks
        ``/item/get``, and ``/accounts/get`` (at most 15 a minute for an Item) if there is no error.

        Args:
            access_token: the access token of the Item, or a result that has it.
            item_id: in its place, the id of an Item in the store.

        Raises:
            AccessTokenError: Plaid does not know the access token.
            PlaidApiError: Plaid refused the question itself, or cannot answer now.
            PlaidConnectionError: no usable answer came.
        """
        return run(life.status(self._call(), self._books, access_token, item_id))

    def refresh(
        self,
        result: LinkResult | None = None,
        *,
        item_id: str | None = None,
        partner: Partners | None = None,
        reissue: bool | Iterable[str] = False,
        partial: bool = False,
        on_token: OnToken | None = None,
    ) -> LinkChanges:
        """Look how the Item stands, and make the tokens that are missing.

        Call it after update mode, after a webhook, or every night; calling it twice does no harm.
        If the Item has an error, nothing is done, and the ``status`` says what to do. Otherwise:

        - Accounts that came get tokens for each partner of the result that takes all accounts,
          unless you chose its accounts (the result's ``bound``).
        - Accounts that went leave the result. A partner left without an account is among its
          ``unselected``; a partner of one account is not given another one: choose it by
          ``resume(result, account_id=…)``.
        - Missing and expired tokens are asked for, as in `resume`; but with a store, not one that
          expired after it was handed over, as the partner has what it needs.
        - At PNC, tokens are made again when the user's consent was renewed.

        With a store it waits while `link` is still at work on the Item.

        Args:
            result: the result that you stored.
            item_id: in its place, the id of an Item in the store.
            partner: an adapter of your own that the result knows only by name.
            reissue: True to make all tokens again, or the ids of the accounts whose tokens to make
                again, such as the ``account_ids`` of a webhook.
            partial: whether accounts that Plaid refuses are left pending, rather than an error.
            on_token: called with each `ProcessorToken` as it comes.

        Raises:
            ConfigurationError: the result is of another environment.
            UnknownProcessorError: the result has a partner that needs an adapter of your own.
            LinkInProgressError: `link` was at work on the Item until the end of this call's time.
            LinkIncompleteError: some tokens were issued and some failed; call it again with
                ``error.result``.
            PlaidApiError: Plaid refused, and no token was issued.
            PlaidConnectionError: no usable answer came, and no token was issued.
        """
        return run(
            life.refresh(
                self._call(),
                self._books,
                result,
                item_id=item_id,
                partner=partner,
                reissue=reissue,
                partial=partial,
                on_token=on_token,
            )
        )

    def hand_over(
        self,
        item_id: str,
        sender: Hands,
        *,
        identity: str | None = None,
        business_id: str | None = None,
        partner: str | None = None,
        account_id: str | None = None,
        again: bool = False,
        gone: Gone = (),
    ) -> tuple[Handoff, ...]:
        """Hand a stored Item's tokens to their partner, once; each step is stored.

        It can be called twice, and by several processes: those for one identity, business or Item
        come one after the other, and what the partner has is not sent again. After a crash it looks
        at Finix first, and sends nothing where the outcome cannot be told. It takes as long as the
        sender's time-out allows; this linker's deadline is for functions.

        Args:
            item_id: Plaid's id of the Item.
            sender: a `FinixSender` or `LayerSender`, awaited or not; or, for another partner, a
                function that hands over the `ProcessorToken` that it is called with, and returns
                the partner's reference, a text, or None.
            identity: for Finix, its id of the identity (``ID…``) that the account belongs to.
            business_id: for Layer, its id of the business.
            partner: for a function, Plaid's name of the partner whose tokens it hands over.
            account_id: the account whose token to hand over; by default all of the partner's.
            again: your word to send what was sent already, or may have been.
            gone: for Layer, what is dead and not to be sent again, beside what the store knows of
                the user's Items: account ids, accounts, processor tokens, or results.

        Returns:
            The hand-offs of these tokens as they are stored now, with the partner's references.

        Raises:
            ConfigurationError: an argument does not fit, or the Item has no token for the partner.
            ItemNotStoredError: the store has no such Item.
            LinkInProgressError: another call was at work on it until the end of this one's time.
            HandoffRefusedError: nothing was sent: the partner may have it already, the token has
                expired, or the Item was removed.
            HandoffError: the partner refused, or there is no usable answer; as the sender raises.
            StoreError: the store failed; a note says if the partner has it all the same.
        """
        return run(
            hand_over(
                self._call(),
                self._books,
                item_id,
                sender,
                identity=identity,
                business_id=business_id,
                partner=partner,
                account_id=account_id,
                again=again,
                gone=gone,
            )
        )

    def accounts(
        self, access_token: str | None = None, *, item_id: str | None = None
    ) -> tuple[Account, ...]:
        """The Item's accounts (``/accounts/get``: at most 15 a minute for an Item).

        Args:
            access_token: the access token of the Item.
            item_id: in its place, the id of an Item in the store.

        Raises:
            PlaidApiError: Plaid refused.
            PlaidConnectionError: no usable answer came.
        """
        return run(life.accounts(self._call(), self._books, access_token, item_id))

    def recover(
        self,
        *,
        partner: Partners | None = None,
        older_than: float = 120.0,
        limit: int | None = None,
    ) -> RecoveryReport:
        """Finish what a crash left in the store: call it at every start, and every few minutes.

        - A link whose public token was stored and perhaps not exchanged is exchanged now. If Plaid
          calls the token spent, or 30 minutes have passed, or its user has linked the same bank
          since, the link is unknown, and its reason says what to ask Plaid.
        - An Item that is stored gets the processor tokens that are missing; also where `link`
          itself failed temporarily.
        - A hand-off of which nobody knows whether the partner has it is unknown; `hand_over` looks
          at the partner first.

        What another call is at work on is passed over, so that it is safe on several processes at
        once. Each link has a deadline of its own, and one that fails does not hold up the others:
        what may pass (the network, a rate limit, a bank that is down) is tried again by the next
        run. Nothing is lost if it is interrupted: what it found is in the store, as
        ``store.links(state="unknown")``.

        Args:
            partner: an adapter of your own, or several, that links in the store know only by name.
            older_than: seconds since the link was last stored; a younger one may be under way.
            limit: how many links at most; None: all.

        Raises:
            ConfigurationError: the linker has no store.
            StoreError: the store cannot be read.
        """
        return run(
            recovery.recover(
                self._call, self._books, partner=partner, older_than=older_than, limit=limit
            )
        )

    def remove(
        self,
        access_token: str | None = None,
        *,
        item_id: str | None = None,
        reason_code: str | None = None,
        reason_note: str | None = None,
    ) -> bool:
        """Remove the Item: billing ends, and the partners' tokens of it are void.

        Tell the partners first, and wait for payments under way and their returns.

        Args:
            access_token: the access token of the Item.
            item_id: in its place, the id of an Item in the store.
            reason_code: why, for Plaid: ``"FRAUD_FIRST_PARTY"``, ``"FRAUD_FALSE_IDENTITY"``,
                ``"FRAUD_ABUSE"``, ``"FRAUD_OTHER"``, ``"CONNECTION_IS_NON_FUNCTIONAL"`` or
                ``"OTHER"``.
            reason_note: more about the reason, in at most 512 characters, without personal data.

        Returns:
            True if it was removed now, False if it was gone already.

        Raises:
            PlaidApiError: Plaid refused.
            PlaidConnectionError: no usable answer came.
        """
        return run(
            life.remove(
                self._call(),
                self._books,
                access_token,
                item_id=item_id,
                reason_code=reason_code,
                reason_note=reason_note,
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the client; a linker from `with_options` closes nothing."""
        if self._closes_client:
            self._client.close()

    def _call(self) -> PlaidCall:
        return self._client.begin(BlockingPort(), self._limits)
