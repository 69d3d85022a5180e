"""The calls of both linkers: what they take, checked, and made into a flow. Pure.

Written once; `linker` and `aio` run what comes of it, each in its own way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import flow
from .adapters import PartnerAdapter, get_adapters, products_of
from .arguments import checked_token, filled_text, flag, names, plain_mapping
from .errors import ConfigurationError
from .flow import Flow, OnExchange, OnToken
from .link_tokens import link_token_body
from .results import (
    Account,
    Environment,
    LinkResult,
    LinkToken,
)
from .resuming import narrowed, resume_plan
from .selection import check_given, choices, given_accounts
from .sessions import LinkSession

Partner = str | PartnerAdapter | Iterable[str | PartnerAdapter]
Accounts = Iterable[Account | Mapping[str, object]]
AccountIds = Mapping[str, Iterable[str]]


class Operations:
    """What can be asked of a linker, for a client of one environment."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

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
    ) -> Flow[LinkToken]:
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
            account_filters: other filters than the partners' own; ``{}`` for none.
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
        body = link_token_body(
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
            texts={
                "link_customization_name": link_customization_name,
                "webhook": webhook,
                "redirect_uri": redirect_uri,
                "android_package_name": android_package_name,
            },
            hosted_link=hosted_link,
            extra=extra,
        )
        return flow.create_link_token(body)

    def session(self, link_token: str) -> Flow[LinkSession]:
        """How Link went for a link token, for a back end that has no front end to tell it.

        With Hosted Link, send the user to ``hosted_link_url``, keep the link token beside the
        user's id, and ask here when the webhook SESSION_FINISHED comes. Plaid tells it for six
        hours after the session's end; of a Link in your own page it may tell less. Of several
        Items connected in one session (multi-Item Link) only the first is told.

        Args:
            link_token: from `create_link_token`.

        Raises:
            PlaidApiError: Plaid does not know the link token, or refused.
            PlaidConnectionError: no usable answer came.
        """
        token = checked_token("link_token", link_token, "link", self._environment)
        return flow.session(token)

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
        narrow: bool = False,
        on_exchange: OnExchange | None = None,
        on_token: OnToken | None = None,
    ) -> Flow[LinkResult]:
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
            narrow: let each token open only the products that its partner reads (its adapter's
                ``permissions``), before it is told: by itself it opens all of the Item's.
            on_exchange: called with the `LinkedItem` as soon as it exists: store it there.
            on_token: called with each `ProcessorToken` as it comes.

        Raises:
            AccountSelectionError: a partner's rule refuses the accounts; nothing was sent.
            PublicTokenError: the public token is used, expired or unknown.
            LinkIncompleteError: the Item exists and what came after failed: see its ``result``.
            PlaidApiError: Plaid refused the exchange.
            PlaidConnectionError: no usable answer came; see ``outcome_unknown``.
        """
        session, listed = _link_metadata(metadata, accounts)
        _check_callback("on_exchange", on_exchange)
        return flow.link(
            _plan(
                partner,
                listed,
                account_id=account_id,
                account_ids=account_ids,
                verify_accounts=verify_accounts,
                narrow=narrow,
            ),
            checked_token("public_token", public_token, "public", self._environment),
            self._environment,
            session,
            on_exchange=on_exchange,
            options=_options(on_token, partial),
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
        narrow: bool = False,
        on_exchange: OnExchange | None = None,
        on_token: OnToken | None = None,
    ) -> Flow[LinkResult]:
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
            narrow: as in `link`.
            on_exchange: as in `link`.
            on_token: as in `link`.

        Raises:
            ConfigurationError: the client is not of the Sandbox.
            LinkIncompleteError: as in `link`, like all else.
        """
        if self._environment is not Environment.SANDBOX:
            raise ConfigurationError("link_sandbox works in the Sandbox only")
        _check_callback("on_exchange", on_exchange)
        plan = _plan(
            partner,
            None,
            account_id=account_id,
            account_ids=account_ids,
            first_fitting=True,
            narrow=narrow,
        )
        return flow.link_sandbox(
            plan,
            filled_text("institution_id", institution_id),
            _sandbox_products(plan, products),
            None if options is None else plain_mapping("options", options),
            self._environment,
            on_exchange=on_exchange,
            options=_options(on_token, partial),
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
        narrow: bool = False,
        on_token: OnToken | None = None,
    ) -> Flow[LinkResult]:
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
            narrow: likewise.
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
        plan = _plan(
            partner,
            accounts,
            account_id=account_id,
            account_ids=account_ids,
            verify_accounts=verify_accounts,
            narrow=narrow,
        )
        return flow.issue(plan, result, _options(on_token, partial))

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
        narrow: bool | None = None,
        on_token: OnToken | None = None,
    ) -> Flow[LinkResult]:
        """Ask for what is missing of a result, and for nothing else.

        Args:
            result: from ``error.result``, or from `LinkResult.from_dict`.
            partner: an adapter of your own that the result knows only by name.
            accounts: what was missing to choose the accounts; None: ask ``/accounts/get``.
            account_id: likewise, for every partner that waits, or for those of ``partner``.
            account_ids: likewise.
            verify_accounts: as in `link`, like all others.
            partial: likewise.
            narrow: True or False decides anew for what is still to come; None: as it was asked for.
                With False, a token that could not be narrowed is handed out as it is.
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
        result = narrowed(result, narrow, partner)
        plan = resume_plan(
            result,
            partner,
            accounts,
            account_id=account_id,
            account_ids=account_ids,
            verify_accounts=verify_accounts,
        )
        return flow.resume(plan, result, _options(on_token, partial))

    def accounts(self, access_token: str) -> Flow[tuple[Account, ...]]:
        """The Item's accounts (``/accounts/get``: at most 15 a minute for an Item)."""
        token = checked_token("access_token", access_token, "access", self._environment)
        return flow.accounts(token)

    def remove(self, access_token: str) -> Flow[bool]:
        """Remove the Item: billing ends, and the partners' tokens of it are void.

        Returns:
            True if it was removed now, False if it was gone already.
        """
        token = checked_token("access_token", access_token, "access", self._environment)
        return flow.remove(token)


def _options(on_token: OnToken | None, partial: bool) -> flow.Options:
    """How tokens are asked for and told."""
    _check_callback("on_token", on_token)
    return flow.Options(on_token=on_token, partial=flag("partial", partial))


def _check_callback(name: str, callback: object) -> None:
    """Refuse what cannot be called before anything is sent, not after."""
    if callback is not None and not callable(callback):
        raise TypeError(f"{name} must be callable, not {type(callback).__name__}")


def _plan(
    partner: Partner,
    accounts: Accounts | None,
    *,
    account_id: str | None = None,
    account_ids: AccountIds | None = None,
    verify_accounts: bool = False,
    first_fitting: bool = False,
    narrow: bool = False,
) -> flow.Plan:
    """What is to be linked."""
    bound = choices(
        get_adapters(partner),
        account_id=account_id,
        account_ids=account_ids,
        first_fitting=first_fitting,
        narrow=flag("narrow", narrow),
    )
    given = given_accounts(accounts, bound)
    check_given(bound, given)
    return flow.Plan(choices=bound, accounts=given, verify=flag("verify_accounts", verify_accounts))


def _link_metadata(
    metadata: Mapping[str, object] | None, accounts: Accounts | None
) -> tuple[flow.Session, Accounts | None]:
    """The session, and the accounts: those given, else those of Link's metadata."""
    if metadata is None:
        return flow.Session(), accounts
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be Link's metadata object, not {type(metadata).__name__}")
    listed: Any = metadata.get("accounts") if accounts is None else accounts
    return flow.Session.from_metadata(metadata), listed


def _sandbox_products(plan_: flow.Plan, products: Iterable[str] | None) -> list[str]:
    """What a Sandbox Item is made with: the partners' products, or the caller's."""
    if products is not None:
        return names("products", products)
    return products_of([choice.adapter for choice in plan_.choices])
