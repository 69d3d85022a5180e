"""One fault for each promise: plants it in a copy of the SDK, and its tests have to fail.

`python -m tests.plant` plants all of them, `python -m tests.plant FILE …` those in these files.
Exit status 1 if a fault was not noticed, or no longer fits the source. The tests are named in
promises.md for that promise.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/plaid_processors"
PROMISES = (ROOT / "tests/promises.md").read_text(encoding="utf-8")
SECONDS = 120  # for one test: a fault may make it hang, which is noticed too


class Fault(NamedTuple):
    """One occurrence of ``old`` becomes ``new``; then each of ``tests`` has to fail."""

    promise: str
    file: str
    old: str
    new: str
    tests: str


# fmt: off
FAULTS = [
    # Clients
    Fault(
        "malformed keys are refused", "settings.py",
        "or not _KEY.fullmatch(value)", "or not value",
        "test_settings.py::test_malformed_keys",
    ),
    Fault(
        "the environment is sandbox by default", "client.py",
        "environment: str | Environment = Environment.SANDBOX,",
        "environment: str | Environment = Environment.PRODUCTION,",
        "test_settings.py::test_sandbox_is_the_default",
    ),
    Fault(
        "without PLAID_ENV it is the sandbox", "settings.py",
        'given["PLAID_ENV"] or Environment.SANDBOX', 'given["PLAID_ENV"] or Environment.PRODUCTION',
        "test_settings.py::test_from_the_process_environment",
    ),
    Fault(
        "another environment is refused", "settings.py",
        "if name in list(Environment):", "if name:",
        "test_settings.py::test_unknown_environment_lists_the_two",
    ),
    Fault(
        "base_url takes http only on loopback", "settings.py",
        'parts.scheme == "https" or is_loopback(parts.hostname)', 'parts.scheme != ""',
        "test_settings.py::test_unusable_base_url",
    ),
    Fault(
        "base_url of the other environment is refused", "settings.py",
        "not in (None, environment.value):", "not in (None, *Environment):",
        "test_settings.py::test_an_address_of_the_other_environment "
        "test_client.py::test_from_plaid_of_the_other_environment",
    ),
    Fault(
        "swapped keys are seen", "settings.py",
        "if _SECRET.fullmatch(client_id) and", "if not client_id and",
        "test_settings.py::test_swapped_keys",
    ),
    Fault(
        "timeout is checked", "settings.py",
        "if len(pair) != 2 or not all(map(is_positive, pair)):", "if len(pair) != 2:",
        "test_settings.py::test_unusable_timeout",
    ),
    Fault(
        "max_connections", "_engine/threads.py",
        "self._most = most\n", "self._most = most + 1\n",
        "test_client.py::test_max_connections "
        "test_threads_and_time.py::test_threads_and_loops_share_the_connections",
    ),
    Fault(
        "Link's script is the local Plaid's on this machine alone", "_plaid/browser.py",
        "if not is_loopback(parts.hostname):", "if False:",
        "test_client.py::test_links_script_is_plaids_or_the_local_plaids",
    ),
    Fault(
        "a nonce puts no rule into the policy", "_plaid/browser.py",
        "re.fullmatch(", "re.match(",
        "test_client.py::test_a_nonce_that_is_none",
    ),
    Fault(
        "from_plaid does not use its retries", "_engine/http.py",
        "            retries=False,\n", "",
        "test_client.py::test_from_plaid_does_not_use_its_retries",
    ),
    Fault(
        "from_plaid leaves its pool open", "_engine/engine.py",
        " if self._owned else ():", ":",
        "test_client.py::test_from_plaid_uses_its_pool_and_leaves_it_open",
    ),
    Fault(
        "no_proxy names exceptions", "_engine/network.py",
        'or proxy_bypass_environment(parts.netloc, {"no": exceptions})', "",
        "test_network.py::test_no_proxy_names_exceptions",
    ),
    Fault(
        "proxy= is above the variables", "_engine/network.py",
        "    if proxy is None:\n        source, proxy", "    if True:\n        source, proxy",
        "test_network.py::test_the_argument_is_above_the_variables",
    ),
    Fault(
        "ca_bundle= names the certificates", "_engine/network.py",
        "if ca_bundle is not None:", "if ca_bundle is Ellipsis:",
        "test_network.py::test_the_argument_names_the_certificates",
    ),
    Fault(
        "ca_bundle= is above the variables", "_engine/network.py",
        '    elif base_url.startswith("https:"):', '    if base_url.startswith("https:"):',
        "test_network.py::test_the_argument_names_the_certificates",
    ),
    Fault(
        "a variable names the certificates", "_engine/network.py",
        '("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")', '("SSL_CERT_FILE",)',
        "test_network.py::test_a_variable_names_the_certificates",
    ),
    Fault(
        "from_env takes proxy and certificates", "linker.py",
        "proxy=proxy,\n                ca_bundle=ca_bundle,", "",
        "test_network.py::test_from_env_takes_proxy_and_certificates",
    ),
    Fault(
        "closing ends the threads", "_engine/engine.py",
        "            running.close()\n", "            pass\n",
        "test_client.py::test_closing_ends_the_threads",
    ),
    Fault(
        "a closed client refuses every call", "_engine/engine.py",
        "        if self._closed:", "        if self._closed is None:",
        "test_client.py::test_a_client_that_was_closed_before_it_was_used",
    ),
    Fault(
        "closing a linker of with_options closes nothing", "linker.py",
        "other._closes_client = False", "other._closes_client = True",
        "test_with_options.py::test_closing_it_closes_nothing",
    ),
    Fault(
        "no generated model is loaded", "client.py",
        "    import plaid\n\n    keys =",
        "    import plaid\n    from plaid.model.account_base import AccountBase\n\n    keys =",
        "test_parallel.py::test_a_link_loads_no_generated_model",
    ),
    # Linker
    Fault(
        "the facades are alike", "aio.py",
        "metadata=metadata,\n            account_id=account_id,", "metadata=metadata,\n",
        "test_facades.py::test_both_linkers_do_the_same",
    ),
    Fault(
        "the facades have the same limits", "linker.py",
        "        deadline: float | None = 90.0,", "        deadline: float | None = 91.0,",
        "test_facades.py::test_the_clients_constructors_agree_in_their_limits",
    ),
    Fault(
        "a link token takes its options by name", "_workflow/link_tokens.py",
        '    "webhook": text,\n', "",
        "test_linker.py::test_options_of_a_link_token",
    ),
    Fault(
        "partners that hide accounts from each other are refused", "_workflow/link_tokens.py",
        'if "auth" in products and losing:', 'if "all" in products and losing:',
        "test_catalogue.py::test_a_conflict_is_told_with_the_choices",
    ),
    Fault(
        "tokens stand by partner, then account", "_workflow/plan.py",
        "for choice in self.choices for each", "for choice in self.choices[::-1] for each",
        "test_linker.py::test_several_partners",
    ),
    Fault(
        "accounts have an id or an account_id", "results.py",
        'values["account_id"] or text_in(given, "id")', 'values["account_id"]',
        "test_selection.py::test_forms_of_accounts",
    ),
    Fault(
        "the mobile spelling is read", "results.py",
        '_CAMEL_CASE.sub("_", key).lower(): value', "key: value",
        "test_link_data.py::test_every_sdks_spelling_is_read "
        "test_link_data.py::test_accounts_in_every_spelling",
    ),
    Fault(
        "what Plaid says is verified", "_plaid/requests.py",
        "evolve(each, verified=True)", "each",
        "test_link_data.py::test_only_what_plaid_says_is_verified",
    ),
    Fault(
        "without ids Plaid is asked", "_workflow/arguments.py",
        "        if verify:\n            return None\n", "",
        "test_link_data.py::test_accounts_without_an_id",
    ),
    Fault(
        "accounts of another link are refused", "_workflow/plan.py",
        "if not ids <= known:", "if not ids:",
        "test_link_data.py::test_accounts_that_contradict_the_metadata",
    ),
    Fault(
        "JSON text is refused with the way out", "results.py",
        "    if isinstance(accounts, (str, bytes)):", "    if not accounts:",
        "test_link_data.py::test_the_wrong_thing_is_refused_with_the_right_one",
    ),
    Fault(
        "Hosted Link's address is missed", "_plaid/requests.py",
        'if body.get("hosted_link") is not None:', 'if body.get("hosted"):',
        "test_linker.py::test_an_asked_for_thing_that_is_missing",
    ),
    Fault(
        "a doubled id counts once", "results.py",
        "by_id.setdefault(account.account_id, account)", "by_id[str(position)] = account",
        "test_selection.py::test_doubled_accounts_count_once",
    ),
    Fault(
        "accounts=[] is refused", "_workflow/plan.py",
        "if given == ():", "if given == () and own:",
        "test_selection.py::test_no_accounts_are_refused",
    ),
    Fault(
        "account_id= binds every partner", "_workflow/accounts.py",
        "dict.fromkeys(own or partners,", "dict.fromkeys([*partners][:1],",
        "test_selection.py::test_account_id_binds_every_partner",
    ),
    Fault(
        "account_ids= binds some", "_workflow/accounts.py",
        "for each in accounts if each.account_id in partner.account_ids)", "for each in accounts)",
        "test_selection.py::test_account_ids_bind_some",
    ),
    Fault(
        "link_sandbox gives Finix the first that fits", "_workflow/accounts.py",
        "if partner.first_fitting and adapter.single:", "if partner.first_fitting is None:",
        "test_linker.py::test_link_sandbox_for_finix",
    ),
    Fault(
        "link_sandbox works in the Sandbox only", "_workflow/link.py",
        "if call.environment is not Environment.SANDBOX:", "if call.environment is None:",
        "test_linker.py::test_link_sandbox_in_production",
    ),
    Fault(
        "a rule refuses before any request", "_workflow/plan.py",
        "        if not self.verify:\n", "        if self.verify is None:\n",
        "test_selection.py::test_finix_refuses_before_any_request "
        "test_selection.py::test_one_partner_of_several_refuses",
    ),
    Fault(
        "a token of another type is refused", "_workflow/arguments.py",
        "if (kind, where) != (expected, environment):", "if where != environment:",
        "test_linker.py::test_public_token_of_another_kind "
        "test_linker.py::test_access_token_of_another_kind",
    ),
    Fault(
        "a token of another environment is refused", "_workflow/arguments.py",
        "if (kind, where) != (expected, environment):", "if kind != expected:",
        "test_linker.py::test_public_token_of_another_kind "
        "test_linker.py::test_access_token_of_another_kind",
    ),
    Fault(
        "an Item's error is a status", "_workflow/life.py",
        "isinstance(answer, (ItemLoginRequiredError, ItemNotFoundError))",
        "isinstance(answer, ItemLoginRequiredError)",
        "test_refresh.py::test_an_answer_about_the_item_is_a_status",
    ),
    Fault(
        "the accounts of a broken Item are not asked for", "_workflow/life.py",
        "        if error is None:\n", "        if True:\n",
        "test_refresh.py::test_an_items_error_is_a_status",
    ),
    Fault(
        "consent that ends soon asks for repair", "life.py",
        "timedelta(days=7)", "timedelta(days=1)",
        "test_refresh.py::test_consent_that_ends_soon",
    ),
    Fault(
        "nothing is done for a broken Item", "_workflow/life.py",
        "        if status.healthy:\n", "        if True:\n",
        "test_refresh.py::test_nothing_is_done_for_a_broken_item",
    ),
    Fault(
        "a partner of one account gets no other", "_workflow/life.py",
        "ids = None if takes_all else [each.account.account_id for each in before]", "ids = None",
        "test_refresh.py::test_a_partner_of_one_account_gets_no_other",
    ),
    Fault(
        "accounts that the caller chose are not added to", "_workflow/life.py",
        " or name in result.bound)", ")",
        "test_refresh.py::test_accounts_that_the_caller_chose_are_not_added_to",
    ),
    Fault(
        "the choice of accounts is kept", "_workflow/progress.py",
        "if each.account_ids is not None]", "if not each]",
        "test_refresh.py::test_accounts_that_the_caller_chose_are_not_added_to",
    ),
    Fault(
        "at PNC tokens are made again once", "_workflow/life.py",
        "unselected=unselected, consent_expires_at=consent_ends)", "unselected=unselected)",
        "test_refresh.py::test_pnc_after_update_mode",
    ),
    Fault(
        "update mode asks for the consent that is missing", "_workflow/link_tokens.py",
        "[name for name in wanted if name in _CONSENT_FOR and name not in covered]", "[]",
        "test_refresh.py::test_another_partner_later "
        "test_refresh.py::test_consent_that_is_asked_for",
    ),
    Fault(
        "Identity is covered by other products", "_workflow/link_tokens.py",
        "_WITH_IDENTITY.intersection(consented)", "False",
        "test_refresh.py::test_consent_that_is_asked_for",
    ),
    Fault(
        "remove refuses what is no reason", "_workflow/life.py",
        "        if reason_code not in _REASONS:\n", "        if not reason_code:\n",
        "test_refresh.py::test_remove_with_a_reason_that_cannot_be",
    ),
    Fault(
        "a duplicate is refused before any request", "_workflow/link.py",
        "    _refuse_duplicates(metadata, earlier, on_duplicate)\n", "",
        "test_duplicates.py::test_a_duplicate_is_refused_before_any_request "
        "test_link_sessions.py::test_the_same_bank_twice_in_sessions",
    ),
    Fault(
        "where names are missing, the bank decides", "life.py",
        "if common or (unsure and result.institution_id is not None):", "if common:",
        "test_duplicates.py::test_where_names_or_masks_are_missing_the_bank_alone_decides",
    ),
    Fault(
        "at Chase the same accounts end nothing", "life.py",
        "ends and not (bank == _CHASE and same)", "ends",
        "test_duplicates.py::test_banks_where_a_new_link_may_end_the_earlier_item",
    ),
    Fault(
        "an interruption keeps the other Items of a session", "_workflow/sessions.py",
        "interruption.__cause__ = ", "_ = ",
        "test_link_sessions.py::test_an_interruption_keeps_what_is_linked "
        "test_link_sessions.py::test_a_cancellation_keeps_what_is_linked",
    ),
    Fault(
        "on_exchange comes before any processor token", "_workflow/link.py",
        "            if plan.on_exchange is not None:\n",
        "            await _finish(call, progress, plan)\n"
        "            if plan.on_exchange is not None:\n",
        "test_flow.py::test_on_exchange_comes_once_and_first "
        "test_flow.py::test_on_exchange_comes_before_accounts_are_fetched",
    ),
    Fault(
        "on_token is called with each token", "_workflow/link.py",
        "if token is not None and on_token is not None:",
        "if token is not None and on_token is not None and not place:",
        "test_flow.py::test_on_token_for_each",
    ),
    Fault(
        "the async linker awaits callbacks", "_engine/ports.py",
        "        if not isawaitable(returned):\n            return returned\n",
        "        return returned\n",
        "test_aio.py::test_callbacks_may_be_functions_or_coroutine_functions",
    ),
    Fault(
        "the blocking linker refuses coroutine functions", "_engine/ports.py",
        "        if is_coroutine_function(callback):", "        if False:",
        "test_aio.py::test_the_blocking_linker_refuses_coroutine_functions",
    ),
    Fault(
        "partial= leaves the refused pending", "_workflow/link.py",
        "if errors and not (partial and progress.only_refused):", "if errors:",
        "test_flow.py::test_partial",
    ),
    Fault(
        "partial= is for refusals", "_workflow/link.py",
        "if errors and not (partial and progress.only_refused):",
        "if errors and not partial:",
        "test_flow.py::test_partial_is_for_refusals_of_single_accounts",
    ),
    Fault(
        "verify_accounts= asks Plaid", "_workflow/plan.py",
        'options.get("verify_accounts", False)', "False",
        "test_flow.py::test_a_lying_browser test_flow.py::test_verified_accounts_are_plaids",
    ),
    Fault(
        "narrow= narrows", "_workflow/progress.py",
        "elif pending.permissions is not None and pending.unnarrowed is None:", "elif False:",
        "test_narrow.py::test_a_narrowed_token",
    ),
    Fault(
        "a token that could not be narrowed is kept", "_workflow/progress.py",
        "entry = evolve(pending, error_code=code, error_message=message)",
        "entry = evolve(pending, unnarrowed=None, error_code=code, error_message=message)",
        "test_narrow.py::test_a_failure_keeps_the_token_and_resume_narrows_it",
    ),
    Fault(
        "remove is False if the Item is gone", "_workflow/life.py",
        "removed = error.outcome_unknown", "return True",
        "test_linker.py::test_remove",
    ),
    Fault(
        "remove raises all else", "_workflow/life.py",
        'if error.error_code != "ITEM_NOT_FOUND":', "if not error.error_code:",
        "test_linker.py::test_remove_raises_all_else",
    ),
    Fault(
        "session tells every Item", "sessions.py",
        "        return usable\n", "        return usable[:1]\n",
        "test_sessions.py::test_every_item_of_a_session",
    ),
    Fault(
        "sessions are in order of time", "sessions.py",
        'time_in(each, "started_at") or _LONG_AGO', 'text_in(each, "started_at") or ""',
        "test_sessions.py::test_sessions_are_in_order_of_time",
    ),
    Fault(
        "session tells a success", "sessions.py",
        "public_token=first.public_token if first else None,", "",
        "test_sessions.py::test_a_success "
        "test_sessions.py::test_the_whole_flow_without_a_front_end",
    ),
    Fault(
        "tokens are asked for side by side", "_engine/call.py",
        "if errand.due is not None and errand.due <= now:",
        "if errand.due is not None and not any(each.under_way for each in self._errands):",
        "test_parallel.py::test_all_tokens_are_asked_for_at_once",
    ),
    # Adapters and results
    Fault(
        "an adapter keeps the order", "adapters/base.py",
        "for account in as_accounts(accounts) if", "for account in as_accounts(accounts)[::-1] if",
        "test_selection.py::test_picks_are_a_subset_in_order "
        "test_adapters.py::test_layer_takes_all_in_order",
    ),
    Fault(
        "Finix takes one account", "adapters/base.py",
        "if self.single and len(eligible) > 1:", "if self.single and not eligible:",
        "test_adapters.py::test_finix_refusal_names_rule_and_way_out",
    ),
    Fault(
        "Finix takes checking or savings", "adapters/base.py",
        'default=("checking", "savings")', 'default=("checking", "savings", "credit card")',
        "test_adapters.py::test_finix_takes_checking_or_savings",
    ),
    Fault(
        "Finix's products", "adapters/base.py",
        'field(default=("auth", "identity")', 'field(default=("auth",)',
        "test_adapters.py::test_finix_products",
    ),
    Fault(
        "the catalogue has all of Plaid's partners", "adapters/catalogue.tsv",
        "\nachq\t", "\nachr\t",
        "test_catalogue.py::test_the_catalogue_has_plaids_names",
    ),
    Fault(
        "each rule has its source", "adapters/catalogue.tsv",
        "\thttps://plaid.com/docs/auth/partnerships/achq/", "\t",
        "test_catalogue.py::test_a_rule_has_a_source_and_no_source_means_no_rule",
    ),
    Fault(
        "values are frozen", "results.py",
        "@frozen(kw_only=True)\nclass ProcessorToken:",
        "@attrs.define(kw_only=True, hash=True)\nclass ProcessorToken:",
        "test_results.py::test_values_are_frozen_and_keyword_only",
    ),
    Fault(
        "no secret in a repr", "results.py",
        "processor_token: str = field(repr=mask_repr, validator=_text)",
        "processor_token: str = field(validator=_text)",
        "test_results.py::test_values_show_no_secret",
    ),
    Fault(
        "a mask shows at most four characters", "redaction.py",
        'found["id"][-4:]', 'found["id"][-5:]',
        "test_redaction.py::test_mask_shows_at_most_four_characters",
    ),
    Fault(
        "a token of Plaid's form is masked in any text", "redaction.py",
        "(?P<environment>sandbox|development|production)", "(?P<environment>sandbox|production)",
        "test_redaction.py::test_no_token_of_plaids_shape_gets_through",
    ),
    Fault(
        "a certificate of another host is refused", "_engine/network.py",
        'settings["ssl_context"] = ssl_context',
        'settings.update(ssl_context=ssl_context, assert_hostname=False)',
        "test_network.py::test_a_certificate_of_another_host",
    ),
    Fault(
        "the local Plaid stops on an event loop without readers", "sandbox/server.py",
        "with suppress(NotImplementedError):", "with suppress(KeyError):",
        "test_versions.py::test_an_event_loop_without_readers",
    ),
    Fault(
        "no wait on the main thread is without an end", "sandbox/serving.py",
        "while not stopped.wait(0.5):", "while not stopped.wait():",
        "test_versions.py::test_no_wait_without_a_time_out",
    ),
    Fault(
        "the doctor can be read on a stream that is not UTF-8", "cli/marks.py",
        '"✗": "[failed]",', '"✗": "[ok]",',
        "test_doctor.py::test_the_doctors_marks_can_be_read "
        "test_doctor.py::test_a_locale_without_an_encoding",
    ),
    Fault(
        "the demo can be read on a stream that is not UTF-8", "cli/marks.py",
        "stream.reconfigure(errors=_HANDLER)", 'stream.reconfigure(errors="replace")',
        "test_doctor.py::test_the_demo_can_be_read",
    ),
    Fault(
        "a missing extra names PyJWT", "sandbox/needs.py",
        '{"jwt": "PyJWT"}', "{}",
        "test_versions.py::test_a_missing_extra_is_named_by_its_line",
    ),
    Fault(
        "fingerprint", "redaction.py",
        ".hexdigest()[:12]", ".hexdigest()[-12:]",
        "test_results.py::test_fingerprint",
    ),
    Fault(
        "token() gives the one token", "results.py",
        "if len(found) != 1:", "if not found:",
        "test_results.py::test_token_needs_exactly_one",
    ),
    Fault(
        "a stored result is read again", "results.py",
        'if stored["processor"] == "stripe" else', 'if stored["processor"] == "Stripe" else',
        "test_results.py::test_stored_and_read_again",
    ),
    Fault(
        "another version is refused", "results.py",
        "if isinstance(version, int) and version == RESULT_FORMAT:", "if version:",
        "test_results.py::test_other_versions_are_refused",
    ),
    Fault(
        "a damaged form is a ValueError", "results.py",
        "except Exception as error:", "except (KeyError, ValueError) as error:",
        "test_results.py::test_damaged_form_is_refused_or_usable "
        "test_results.py::test_a_hostile_mapping_is_refused",
    ),
    Fault(
        "merge loses no token", "results.py",
        "both = (*self.entries, *other.entries)", "both = other.entries or self.entries",
        "test_results.py::test_merge_loses_no_token",
    ),
    Fault(
        "merge takes the newer token", "results.py",
        "return 2, entry.issued_at", "return 2, datetime.min.replace(tzinfo=UTC)",
        "test_results.py::test_merge_takes_the_newer_token",
    ),
    Fault(
        "merge refuses another Item", "results.py",
        "if not same_item or self.environment", "if self.environment",
        "test_results.py::test_merge_refuses_another_item",
    ),
    Fault(
        "tokens that expire say when", "_plaid/requests.py",
        "None if lifetime is None else issued_at + lifetime", "None",
        "test_catalogue.py::test_when_a_token_ends",
    ),
    # Errors
    Fault(
        "mistakes are ValueErrors", "errors.py",
        "class ConfigurationError(PlaidProcessorsError, ValueError):",
        "class ConfigurationError(PlaidProcessorsError):",
        "test_errors.py::test_mistakes_are_value_errors",
    ),
    Fault(
        "errors pickle", "errors.py",
        "def __reduce__(self)", "def reduce(self)",
        "test_errors.py::test_errors_pickle",
    ),
    Fault(
        "a refusal has the accounts that fit", "adapters/base.py",
        "        eligible=eligible,\n", "",
        "test_selection.py::test_a_bound_account_that_does_not_fit",
    ),
    Fault(
        "an API error keeps what Plaid said", "_plaid/answers.py",
        'display_message=_masked(body, "display_message", secrets),', "",
        "test_errors.py::test_an_error_keeps_all_that_plaid_said",
    ),
    Fault(
        "each error has its class", "_plaid/codes.tsv",
        "\nITEM_LOGIN_REQUIRED\tItemLoginRequiredError", "\nITEM_LOGIN_REQUIRED\tItemNotFoundError",
        "test_errors.py::test_class_of_an_error",
    ),
    Fault(
        "no usable answer is a PlaidConnectionError", "_plaid/answers.py",
        "if body is None or not 200 <= status < 300:", "if body is None:",
        "test_transport.py::test_unusable_answers",
    ),
    Fault(
        "nothing of urllib3 comes out", "_engine/http.py",
        "except (exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:",
        "except http.client.HTTPException as error:",
        "test_transport.py::test_no_server_at_all",
    ),
    Fault(
        "Plaid may have acted", "_plaid/answers.py",
        "outcome_unknown=failure.sent,", "outcome_unknown=False,",
        "test_transport.py::test_plaid_may_have_acted",
    ),
    Fault(
        "the errors are in order", "_workflow/progress.py",
        "            errors=self.errors,", "            errors=self.errors[::-1],",
        "test_flow.py::test_some_tokens_fail",
    ),
    Fault(
        "any Exception after the exchange has the result", "_workflow/link.py",
        "if progress.item is not None:\n                raise",
        "if progress.item is not None and isinstance(error, RequestError):\n                raise",
        "test_flow.py::test_on_exchange_that_raises test_flow.py::test_on_token_that_raises",
    ),
    Fault(
        "an interruption has the result", "_workflow/link.py",
        "        error.__plaid_processors_unfinished__ = progress  # type: ignore[attr-defined]\n"
        "        call.leave()\n        #",
        "        call.leave()\n        #",
        "test_flow.py::test_leaving_from_a_callback test_aio.py::test_cancelled_while_tokens_come",
    ),
    Fault(
        "unfinished is not of another link", "errors.py",
        "            behind = None\n", "            pass\n",
        "test_errors.py::test_unfinished_is_not_of_another_link",
    ),
    Fault(
        "partners without accounts are kept", "_workflow/progress.py",
        "self.unselected = tuple(partner for _, partner in plan.choices)", "self.unselected = ()",
        "test_flow.py::test_partners_without_accounts_are_kept "
        "test_flow.py::test_resume_takes_what_was_missing",
    ),
    Fault(
        "ids asked for are kept", "_workflow/plan.py",
        "ids.get(partner.processor, partner.account_ids)", "ids.get(partner.processor)",
        "test_flow.py::test_ids_asked_for_are_kept",
    ),
    Fault(
        "issue that fails altogether raises the plain error", "_workflow/link.py",
        "            if not progress.advanced:\n                raise\n", "",
        "test_flow.py::test_issue_that_fails_altogether "
        "test_flow.py::test_resume_that_fails_altogether",
    ),
    # asyncio
    Fault(
        "an exchange under way is waited for", "_engine/call.py",
        "if not errand.once or isinstance(interruption, GeneratorExit)", "if True",
        "test_aio.py::test_cancelled_while_the_exchange_is_under_way "
        "test_threads_and_time.py::test_ctrl_c_while_the_exchange_is_under_way",
    ),
    Fault(
        "a cancelled exchange is waited for no longer than timeout", "_engine/call.py",
        "self.times = times\n", "self.times = (times[0], times[1] + 30)\n",
        "test_aio.py::test_a_cancelled_exchange_is_waited_for_no_longer_than_timeout",
    ),
    Fault(
        "a cancellation waits for on_exchange", "_engine/call.py",
        "self.times[1] if even_if_interrupted else None", "None",
        "test_aio.py::test_cancelled_during_on_exchange",
    ),
    Fault(
        "after an interruption nothing more is sent", "_engine/call.py",
        "if interruption is not None and interruption is not cause:", "if False:",
        "test_aio.py::test_cancelled_while_the_exchange_is_under_way",
    ),
    Fault(
        "callbacks run in the caller's context", "_engine/ports.py",
        "copy_context()\n        task =", "Context()\n        task =",
        "test_threads_and_time.py::test_callbacks_run_in_the_callers_context",
    ),
    # Nothing lost
    Fault(
        "an unknown exchange has support and advice", "_workflow/link.py",
        "            _add_support(error, details)\n", "",
        "test_flow.py::test_an_exchange_whose_answer_was_cut",
    ),
    Fault(
        "resume asks only for what is missing", "_workflow/progress.py",
        "self.bound = result.entries, result.unselected", "self.bound = (), result.unselected",
        "test_flow.py::test_resume_asks_only_for_what_is_missing",
    ),
    Fault(
        "an exchange that was not sent never is", "_engine/threads.py",
        'not self.port.waits() or not self._take("thread"):', "not self.port.waits():",
        "test_threads_and_time.py::"
        "test_an_interrupted_or_cancelled_link_that_was_still_connecting_sends_nothing",
    ),
    Fault(
        "no exchange is sent again once cancelled", "_engine/call.py",
        "0.0 if interrupted else self._call.deadline.remaining", "self._call.deadline.remaining",
        "test_interruptions.py::test_no_exchange_is_sent_again_once_cancelled",
    ),
    Fault(
        "the notes say what to ask Plaid", "_workflow/link.py",
        "error.add_note(", "str(",
        "test_interruptions.py::test_ctrl_c_and_an_answer_that_does_not_come",
    ),
    Fault(
        "a second interruption has the Item too", "errors.py",
        "behind = each.__context__ if follows else None", "behind = None",
        "test_errors.py::test_unfinished_of_a_second_interruption",
    ),
    Fault(
        "an Item that is dropped is named", "_workflow/progress.py",
        "if self.sent or self.item is not None:", "if False:",
        "test_interruptions.py::test_an_item_that_nobody_takes_is_named",
    ),
    Fault(
        "asyncio.timeout takes the Item along", "errors.py",
        "interruption = isinstance(each, TimeoutError) or not", "interruption = not",
        "test_aio.py::test_a_timeout_of_asyncio_takes_the_result_along",
    ),
    Fault(
        "exception groups take the Item along", "errors.py",
        "inner = each.exceptions if isinstance(each, BaseExceptionGroup) else ()", "inner = ()",
        "test_errors.py::test_unfinished_of_an_incomplete_link",
    ),
    Fault(
        "a refused token after a lost answer is the lost answer", "_plaid/retry.py",
        "if isinstance(latest, PublicTokenError):", "if False:",
        "test_retry.py::test_an_exchange_that_may_have_worked",
    ),
    Fault(
        "an exchange that was not sent is known to be none", "_engine/http.py",
        "attempt.sent_at is not None if attempt.once else None", "True if attempt.once else None",
        "test_transport.py::test_a_hand_shake_that_never_ends",
    ),
    Fault(
        "remove tells an Item that it removed itself", "_workflow/life.py",
        "removed = error.outcome_unknown", "return False",
        "test_retry.py::test_removed_by_the_attempt_whose_answer_was_lost",
    ),
    Fault(
        "what is raised on a thread loses nothing", "_engine/threads.py",
        "except BaseException as error:", "except Exception as error:",
        "test_threads_and_time.py::"
        "test_what_is_raised_on_a_thread_during_the_exchange_comes_out_typed",
    ),
    # Retries
    Fault(
        "the table of retries", "_plaid/codes.tsv",
        "\nPRODUCT_NOT_READY\tPlaidUnavailableError\tnever",
        "\nPRODUCT_NOT_READY\tPlaidUnavailableError\talways",
        "test_error_table.py::test_the_table_of_retries_is_the_real_one",
    ),
    Fault(
        "max_attempts", "_plaid/retry.py",
        "if attempt >= max_attempts", "if attempt > max_attempts",
        "test_retry.py::test_one_attempt_means_one_request "
        "test_retry.py::test_all_attempts_are_used_and_no_more",
    ),
    Fault(
        "no wait outlasts the deadline", "_plaid/retry.py",
        "wait > LONGEST_WAIT or wait >= remaining", "wait > LONGEST_WAIT",
        "test_retry.py::test_no_wait_outlasts_the_deadline",
    ),
    Fault(
        "waits are bounded", "_plaid/retry.py",
        "min(CAP_SECONDS, BASE_SECONDS * 2 ** min(attempt - 1, 16))",
        "BASE_SECONDS * 2 ** min(attempt - 1, 16)",
        "test_retry.py::test_waits_are_bounded",
    ),
    Fault(
        "Retry-After is obeyed", "_plaid/retry.py",
        "wait = error.retry_after\n", "wait = None\n",
        "test_retry.py::test_retry_after_is_obeyed "
        "test_retry.py::test_the_answers_retry_after_is_waited",
    ),
    Fault(
        "Retry-After may be a date", "_engine/http.py",
        'parsedate_to_datetime(header or "")', 'parsedate_to_datetime("")',
        "test_events.py::test_a_retry_after_with_a_date",
    ),
    Fault(
        "a certificate is checked", "_engine/network.py",
        'settings["ssl_context"] = ssl_context',
        'settings["cert_reqs"] = "CERT_NONE"',
        "test_network.py::test_a_server_that_is_not_trusted",
    ),
    Fault(
        "a refused certificate is final", "_engine/http.py",
        '"CERTIFICATE" in reason.upper()', '"CERTIFICATES" in reason.upper()',
        "test_network.py::test_a_server_that_is_not_trusted",
    ),
    # Threads, time and processes
    Fault(
        "timeout bounds the wait", "_engine/call.py",
        "min(end, attempt.began + connect + read)", "end",
        "test_threads_and_time.py::"
        "test_a_name_that_hangs_or_dead_addresses_end_in_time_and_send_nothing",
    ),
    Fault(
        "the deadline is for the call", "_engine/deadline.py",
        'float("inf") if seconds is None', 'float("inf") if seconds != 0',
        "test_flow.py::test_the_deadline_is_for_the_call",
    ),
    Fault(
        "time in callbacks does not count", "_engine/deadline.py",
        "            self._end += monotonic() - began\n", "",
        "test_flow.py::test_time_in_callbacks_does_not_count",
    ),
    Fault(
        "a thread that hangs is replaced", "_engine/threads.py",
        "return sum(attempt is None or not attempt.left for attempt in attempts)",
        "return len(attempts)",
        "test_threads_and_time.py::test_a_server_that_trickles_holds_up_no_later_call",
    ),
    Fault(
        "no more than 64 threads hang", "_engine/threads.py",
        " or len(self._threads) >= self._most + MOST_LEFT:", ":",
        "test_threads_and_time.py::test_no_more_than_so_many_threads_hang",
    ),
    Fault(
        "an exchange that was sent may outlast the deadline", "_engine/call.py",
        "return min(connect, left), read if once else min(read, left)",
        "return min(connect, left), min(read, left)",
        "test_threads_and_time.py::"
        "test_an_exchange_that_was_sent_outlasts_the_deadline_and_brings_the_item",
    ),
    Fault(
        "the exit waits for no thread that hangs", "_engine/threads.py",
        "daemon=True", "daemon=False",
        "test_threads_and_time.py::test_the_exit_waits_for_no_thread_that_hangs",
    ),
    Fault(
        "close waits a second at most", "_engine/threads.py",
        "CLOSE_SECONDS = 1.0", "CLOSE_SECONDS = 9.0",
        "test_threads_and_time.py::test_close_waits_a_second_at_most",
    ),
    Fault(
        "an exchange under way survives close", "_engine/threads.py",
        "        until = monotonic() + CLOSE_SECONDS\n",
        "        until = monotonic() + CLOSE_SECONDS\n"
        "        for attempt in filter(None, self._threads.values()):\n"
        "            attempt.leave()\n",
        "test_threads_and_time.py::test_an_exchange_under_way_survives_close",
    ),
    Fault(
        "a forgotten client leaves no threads", "_engine/engine.py",
        "finalize(self, new.end).atexit = False", "pass",
        "test_threads_and_time.py::test_a_forgotten_client_leaves_no_threads",
    ),
    Fault(
        "a forked child has its own threads", "_engine/threads.py",
        "_forks += 1", "_forks += 0",
        "test_threads_and_time.py::test_forks_before_and_after_use "
        "test_threads_and_time.py::test_a_fork_in_the_middle_of_other_threads_links",
    ),
    Fault(
        "a forked child has its own connections", "_engine/engine.py",
        "self._connect(here == self._set_up_in)", "self._connect(True)",
        "test_threads_and_time.py::test_forks_before_and_after_use",
    ),
    Fault(
        "a fork in a callback ends the call in the child", "_engine/threads.py",
        "return self._made_in != world()", "return False",
        "test_threads_and_time.py::test_a_fork_inside_a_callback",
    ),
    Fault(
        "a process that gevent patches later goes on", "_engine/threads.py",
        "return _forks, queue.SimpleQueue", "return _forks, None",
        "test_threads_and_time.py::test_gevent_patched_after_the_linker_was_used",
    ),
    Fault(
        "a loop that ends early harms no other", "_engine/ports.py",
        "with suppress(RuntimeError):  # the loop", "with suppress(KeyError):  # the loop",
        "test_threads_and_time.py::test_a_loop_that_ends_before_the_answer_harms_nobody",
    ),
    Fault(
        "context variables reach the threads", "_engine/threads.py",
        "field(factory=contextvars.copy_context)", "field(factory=contextvars.Context)",
        "test_threads_and_time.py::test_requests_side_by_side_have_the_callers_context "
        "test_opentelemetry.py::test_each_call_has_its_own_span",
    ),
    Fault(
        "where there is no thread, the error is ours", "_engine/call.py",
        "        except RuntimeError:\n            if attempt.withdraw():",
        "        except KeyError:\n            if attempt.withdraw():",
        "test_threads_and_time.py::test_when_the_system_has_no_thread_to_give",
    ),
    # Events
    Fault(
        "on_event: each request", "_plaid/call.py",
        "        self._report(EventKind.SENT, attempt.number)\n", "",
        "test_events.py::test_a_request_that_works",
    ),
    Fault(
        "on_event: each retry", "_plaid/call.py",
        "        if wait is not None:\n            self._report(EventKind.RETRIED",
        "        if False:\n            self._report(EventKind.RETRIED",
        "test_events.py::test_a_request_that_is_sent_again",
    ),
    Fault(
        "on_event: each failure", "_plaid/call.py",
        "self._report(EventKind.FAILED, number,", "self._report(EventKind.ANSWERED, number,",
        "test_events.py::test_a_request_that_fails",
    ),
    Fault(
        "on_event that raises ends no link", "events.py",
        "except Exception as error:", "except KeyError as error:",
        "test_events.py::test_a_hook_that_fails_ends_no_link",
    ),
    # Secrecy
    Fault(
        "Plaid's words are masked", "_plaid/answers.py",
        "return None if text is None else redact(text, secrets)", "return text",
        "test_sentinels.py::test_nothing_shows_in_any_flow",
    ),
    Fault(
        "keys are masked", "_plaid/answers.py",
        "secrets_among(*request.secrets, *keys)", "secrets_among(*request.secrets)",
        "test_sentinels.py::test_nothing_shows_in_any_flow",
    ),
    Fault(
        "odd tokens are masked", "_plaid/answers.py",
        "secrets_among(*request.secrets, *keys)", "secrets_among(*keys)",
        "test_sentinels.py::test_nothing_shows_where_tokens_and_answers_are_odd",
    ),
    Fault(
        "the error is decided before it is masked", "_plaid/answers.py",
        '(text_in(body, each) or "" for', '(_masked(body, each, ("INVALID",)) or "" for',
        "test_errors.py::test_placeholders_do_not_change_the_error",
    ),
    Fault(
        "only what can be a secret is masked", "_plaid/answers.py",
        "secrets_among(*request.secrets, *keys)", "(*request.secrets, *keys)",
        "test_errors.py::test_placeholders_of_keys",
    ),
    Fault(
        "a callback's words are not repeated", "_workflow/progress.py",
        "if isinstance(cause, PlaidProcessorsError) else type(cause).__name__", "",
        "test_flow.py::test_words_of_a_callback_are_not_repeated",
    ),
    Fault(
        "the proxy's password shows nowhere", "_engine/network.py",
        "{source} must be a proxy's address", "{source} must be a proxy's address, not {value}",
        "test_network.py::test_a_wrong_proxy",
    ),
    Fault(
        "a redirect is not followed", "_engine/http.py",
        "            retries=False,\n            redirect=False,\n",
        "            redirect=True,\n",
        "test_transport.py::test_a_redirect_is_not_followed",
    ),
    Fault(
        "the filter masks messages", "redaction.py",
        "record.msg, record.args = masked, None", "pass",
        "test_logs.py::test_the_message_and_its_arguments",
    ),
    Fault(
        "the filter masks exceptions", "redaction.py",
        "record.exc_text, record.exc_info = masked, None", "pass",
        "test_logs.py::test_an_exception_and_its_chain",
    ),
    Fault(
        "the filter masks extra fields", "redaction.py",
        "setattr(record, name, masked)", "pass",
        "test_logs.py::test_extra_fields",
    ),
    Fault(
        "the filter masks named keys", "redaction.py",
        "self._secrets = tuple(secrets)", "self._secrets = ()",
        "test_logs.py::test_a_key_that_was_named",
    ),
    # Engine
    Fault(
        "an answer without end is not read", "_engine/http.py",
        "if size > MAX_BODY:", "if size < 0:",
        "test_transport.py::test_an_endless_answer_is_not_read",
    ),
    Fault(
        "certificates are loaded once", "_engine/network.py",
        'settings["ssl_context"] = ssl_context', "pass",
        "test_parallel.py::test_certificates_are_loaded_once_for_a_client",
    ),
    # Hand-off
    Fault(
        "the request to Finix", "handoff/finix.py",
        '"type": "BANK_ACCOUNT",\n    }', '"type": "TOKEN",\n    }',
        "test_handoff.py::test_the_request_to_finix",
    ),
    Fault(
        "the request to Layer", "handoff/layer.py",
        '[{"processor_token": each} for each in listed]', "listed",
        "test_handoff.py::test_the_request_to_layer",
    ),
    Fault(
        "no second instrument: what is there is looked at", "handoff/finix.py",
        "if existing or unknown:", "if unknown:",
        "test_handoff.py::test_no_fault_makes_a_second_instrument "
        "test_handoff.py::test_twice_makes_no_second_instrument",
    ),
    Fault(
        "no second instrument: an unknown outcome stands in the way", "handoff/finix.py",
        "if existing or unknown:", "if existing:",
        "test_handoff.py::test_no_fault_makes_a_second_instrument",
    ),
    Fault(
        "no second instrument: two at once", "handoff/finix.py",
        "await call.turn(place, make())", "await make()",
        "test_handoff.py::test_two_at_once_make_one_instrument "
        "test_handoff.py::test_two_tokens_of_one_account_at_once_make_one_instrument",
    ),
    Fault(
        "no second instrument: any bank account may be the one", "handoff/finix.py",
        "if each.type not in _CARDS)", "if each.type == self)",
        "test_handoff.py::test_digits_that_cannot_tell_make_no_second_instrument",
    ),
    Fault(
        "the turn is the process's, not the sender's", "handoff/finix.py",
        'place = f"{self.base_url} {identity}"', 'place = f"{id(self)} {identity}"',
        "test_handoff.py::test_senders_side_by_side_make_one_instrument",
    ),
    Fault(
        "an answer about another business is refused", "handoff/layer.py",
        "    _check_business(business_id, body)\n", "",
        "test_handoff_engine.py::test_an_answer_about_another_business_is_refused",
    ),
    Fault(
        "a value of the caller's masks no code", "handoff/answers.py",
        "redact(fault.code)", "redact(fault.code, masks)",
        "test_handoff.py::test_a_value_of_the_callers_masks_no_code",
    ),
    Fault(
        "whatever breaks after it was sent leaves it unknown", "handoff/answers.py",
        "unknown = changes and failure.sent", "unknown = False",
        "test_handoff_engine.py::test_whatever_breaks_in_an_attempt_is_typed",
    ),
    Fault(
        "no second instrument: an interrupted one stands in the way", "handoff/finix.py",
        "_open[me] = place", "_open[me] = ''",
        "test_handoff.py::test_interrupted",
    ),
    Fault(
        "Layer keeps the business's other banks", "handoff/layer_tokens.py",
        "return {**known, **fresh}", "return fresh",
        "test_handoff.py::test_layer_keeps_the_business_other_banks "
        "test_handoff.py::test_no_fault_drops_another_item_or_loses_a_token",
    ),
    Fault(
        "two hand-offs at once drop nothing", "handoff/layer.py",
        "await call.turn(turn, self._send_new(call, business_id, left, dead, recorder))",
        "await self._send_new(call, business_id, left, dead, recorder)",
        "test_handoff.py::test_two_at_once_drop_nothing",
    ),
    Fault(
        "what another process dropped is sent again", "handoff/layer.py",
        "_TRIES = 3", "_TRIES = 1",
        "test_layer_life.py::test_two_processes_do_not_drop_each_others_tokens_unnoticed "
        "test_layer_life.py::test_what_another_process_drops_is_sent_again",
    ),
    Fault(
        "another process that is later is waited for", "handoff/layer.py",
        "now + (now - began)", "now",
        "test_layer_life.py::test_two_processes_do_not_drop_each_others_tokens_unnoticed",
    ),
    Fault(
        "what is gone is not sent again", "handoff/layer_tokens.py",
        " or is_dead(each, dead))", ")",
        "test_layer_life.py::test_after_an_item_was_removed_its_tokens_are_not_sent_again "
        "test_layer_life.py::test_a_token_hidden_by_layer_may_be_gone",
    ),
    Fault(
        "what was issued later lives", "handoff/layer_tokens.py",
        " - living)", ")",
        "test_layer_life.py::test_a_newer_token_of_what_is_gone_is_sent",
    ),
    Fault(
        "a refusal names the dead tokens", "handoff/layer_tokens.py",
        "mask(token) in text", "False",
        "test_layer_life.py::test_after_an_item_was_removed_its_tokens_are_not_sent_again "
        "test_layer_life.py::test_a_refusal_may_name_the_account_or_the_token",
    ),
    Fault(
        "a Sandbox token does not go to a live partner", "handoff/requests.py",
        "if environment not in (None, of_environment):", "if False:",
        "test_handoff.py::test_a_token_of_another_environment_is_not_sent",
    ),
    Fault(
        "Finix's refusals have their codes", "handoff/finix.py",
        "PartnerFault(**texts_of(each, PartnerFault))", "PartnerFault()",
        "test_handoff.py::test_what_finix_refuses",
    ),
    Fault(
        "Layer's refusals have their codes", "handoff/layer.py",
        '"error_enum"', '"error_name"',
        "test_handoff.py::test_what_layer_refuses",
    ),
    Fault(
        "what a partner echoes is masked", "handoff/answers.py",
        "_masked(each, masks)", "each",
        "test_handoff.py::test_what_a_partner_echoes_is_masked",
    ),
    Fault(
        "a request to a partner shows no secret", "handoff/requests.py",
        "field(factory=dict, repr=_shown)", "field(factory=dict)",
        "test_handoff.py::test_a_request_shows_no_secret",
    ),
    Fault(
        "forked senders cross no customers", "_engine/threads.py",
        "_forks += 1", "_forks += 0",
        "test_handoff_engine.py::test_a_finix_sender_used_before_forks_crosses_no_identities",
    ),
    Fault(
        "the time-out covers all of an answer", "_engine/call.py",
        "elif attempt.finished or monotonic() >= self._moment_to_give_up(attempt):",
        "elif attempt.finished:",
        "test_handoff_engine.py::test_the_time_out_covers_all_of_an_answer",
    ),
    Fault(
        "what makes something is not sent when nobody waits", "handoff/sending.py",
        "self.once = self.request.changes", "self.once = False",
        "test_handoff_engine.py::"
        "test_a_request_that_makes_something_is_not_sent_when_nobody_waits",
    ),
    # Webhooks
    Fault(
        "a body that was changed is refused", "webhooks/verify.py",
        "if not hmac.compare_digest(own.encode(), _encoded(digest)):", "if not digest:",
        "test_webhooks.py::test_the_webhook_that_plaid_signed test_webhooks.py::test_a_forgery",
    ),
    Fault(
        "ES256 alone", "webhooks/verify.py",
        'if header.get("alg") != "ES256":', "if not header:",
        "test_webhooks.py::test_a_forgery "
        "test_webhooks.py::test_nothing_is_looked_up_for_what_cannot_be_plaids",
    ),
    Fault(
        "an expired key is refused", "webhooks/verify.py",
        "        if key.expired:", "        if not key:",
        "test_webhooks.py::test_a_forgery "
        "test_webhooks.py::test_a_known_key_is_looked_up_again_after_an_hour",
    ),
    Fault(
        "nothing but a refusal comes of a webhook", "webhooks/verify.py",
        "    except (ValueError, RecursionError):\n        read",
        "    except ValueError:\n        read",
        "test_webhooks.py::test_a_forgery",
    ),
    Fault(
        "a webhook's age is checked", "webhooks/verify.py",
        "if age < -MOST_AHEAD:", "if age < -1e15:",
        "test_webhooks.py::test_a_forgery",
    ),
    Fault(
        "the header in any case", "webhooks/verify.py",
        '_text(name).lower().replace("_", "-")', '_text(name).replace("_", "-")',
        "test_webhooks.py::test_headers_of_every_framework",
    ),
    Fault(
        "one look-up for many at once", "_workflow/webhooks.py",
        "await call.turn(lane, _look_up_unless_known(call, key_id))",
        "await _look_up(call, key_id)",
        "test_webhooks.py::test_forty_at_once_make_one_look_up",
    ),
    Fault(
        "a known key serves while Plaid is down", "_workflow/webhooks.py",
        "    except RequestError:\n        return known",
        "    except ZeroDivisionError:\n        return known",
        "test_webhooks.py::test_a_known_key_serves_while_plaid_is_down",
    ),
    Fault(
        "a key that cannot be fetched is the client's own error", "_workflow/webhooks.py",
        "if error.error_code != _UNKNOWN and not malformed:", "if not error.error_code:",
        "test_webhooks.py::test_a_key_that_cannot_be_fetched_is_the_clients_error",
    ),
    Fault(
        "an unknown key is remembered", "webhooks/keys.py",
        "self._unknown[key_id] = now + REMEMBER_UNKNOWN", "pass",
        "test_webhooks.py::test_an_unknown_key_is_remembered",
    ),
    Fault(
        "few unknown keys are looked up", "webhooks/keys.py",
        "if len(answers) < UNKNOWN_A_MINUTE or", "if answers or",
        "test_webhooks.py::test_three_hundred_unknown_keys "
        "test_webhooks.py::test_unknown_keys_by_many_threads",
    ),
    Fault(
        "a new key is not kept out by garbage", "webhooks/keys.py",
        "answers = self._answers[key_id in self._refused]", "answers = self._answers[0]",
        "test_webhooks.py::test_three_hundred_unknown_keys",
    ),
    Fault(
        "what is remembered is bounded", "webhooks/keys.py",
        "    for each in surplus:\n        entries.pop(each, None)\n", "",
        "test_webhooks.py::test_what_is_remembered_is_bounded",
    ),
    Fault(
        "public tokens do not go through a queue", "webhooks/event.py",
        "if name not in _TOKENS}", "if name}",
        "test_webhook_events.py::test_through_a_queue",
    ),
    # The pytest plugin and the command line
    Fault(
        "each test has a new Plaid", "pytest_plugin.py",
        "    sandbox.reset()\n", "",
        "test_pytest_plugin.py::test_each_test_begins_with_a_new_plaid",
    ),
    Fault(
        "a fault that does not strike fails the test", "sandbox/pytest_kit.py",
        "if not wrong or not self.strict:", "if wrong or not self.strict:",
        "test_pytest_plugin.py::test_a_fault_that_does_not_strike_fails_the_test",
    ),
    Fault(
        "a failure exits with 1", "cli/__init__.py",
        '" ".join(words)))\n    return 1', '" ".join(words)))\n    return 0',
        "test_cli.py::test_the_demo_live_with_wrong_keys",
    ),
    Fault(
        "that the reader of a pipe has gone is no failure", "cli/output.py",
        "        if not gone:\n", "        if gone:\n",
        "test_cli_usage.py::test_a_pipe_that_is_closed",
    ),
    Fault(
        "a filter's slip is refused", "cli/names.py",
        "    if name not in known:\n        raise argparse.ArgumentTypeError(unknown(",
        "    if not name:\n        raise argparse.ArgumentTypeError(unknown(",
        "test_cli_usage.py::test_a_slip",
    ),
    Fault(
        "a local Plaid that is not running is one line", "cli/local.py",
        "except ConnectionRefusedError:", "except BlockingIOError:",
        "test_cli_usage.py::test_a_local_plaid_that_is_not_running",
    ),
    Fault(
        "a code that is a slip is not sent", "cli/trigger.py",
        "    if close:\n", "    if not close:\n",
        "test_world.py::test_a_code_that_is_a_slip",
    ),
    Fault(
        "the line of progress fits the terminal", "cli/progress.py",
        "get_terminal_size().columns - 1]", "get_terminal_size().columns]",
        "test_cli_usage.py::test_progress_on_a_terminal",
    ),
    Fault(
        "an interrupt exits with 1", "cli/__init__.py",
        'return _fail("interrupted")', "return 0",
        "test_cli.py::test_an_interrupt",
    ),
    Fault(
        "wrong usage exits with 2", "cli/sandbox.py",
        'arguments.refuse("--client-id and --secret go', 'str("--client-id and --secret go',
        "test_cli.py::test_wrong_usage",
    ),
    Fault(
        "the world's file is replaced where it was written", "sandbox/serving.py",
        'others = _OURS.sub(b"", before)', "others = before",
        "test_world.py::test_other_lines_of_the_file_stay",
    ),
    Fault(
        "the seed is random", "cli/sandbox.py",
        'token_hex(8) if arguments.seed == "random"', '"1" if arguments.seed == "random"',
        "test_world.py::test_after_a_restart_all_is_new",
    ),
    Fault(
        "the partners' keys come from the seed", "sandbox/serving.py",
        "LocalFinix(plaid, seed=seed, host=host", "LocalFinix(plaid, host=host",
        "test_world.py::test_after_a_restart_all_is_new",
    ),
    Fault(
        "a triggered webhook that is refused is a failure", "cli/trigger.py",
        "if not 200 <= status <= 299:", "if not 200 <= status <= 499:",
        "test_world.py::test_a_receiver_that_refuses",
    ),
    Fault(
        "what in an address may be a secret is not shown", "cli/trigger.py",
        "{url.path}\", url.path)", "{url.path}\", \"\")",
        "test_world.py::test_a_secret_is_not_printed",
    ),
    Fault(
        "a missing extra is told with the line that installs it", "cli/__init__.py",
        "    except ModuleNotFoundError as error:", "    except ZeroDivisionError as error:",
        "test_cli.py::test_without_the_extra",
    ),
    Fault(
        "doctor makes link tokens only in production", "cli/doctor.py",
        "if linker.client.environment is Environment.SANDBOX:", "if linker.client.environment:",
        "test_doctor.py::test_production_is_asked_for_link_tokens_only",
    ),
    Fault(
        "doctor leaves nothing behind", "cli/doctor.py",
        "    for item in items:\n", "    for item in items[1:]:\n",
        "test_doctor.py::test_a_thing_that_is_broken_at_plaid",
    ),
    # The store
    Fault(
        "of two saves of one version one wins", "store/database.py",
        "links.c.key == record.key, links.c.version == record.version",
        "links.c.key == record.key",
        "test_store_sql.py::test_a_database test_store_sql.py::test_processes_race",
    ),
    Fault(
        "a lease that has ended is free", "store/database.py",
        "(leases.c.ends_at <= self._now()) | ", "",
        "test_store_sql.py::test_a_database",
    ),
    Fault(
        "each process has connections of its own", "store/database.py",
        "        each.engine.dispose(close=False)", "        pass",
        "test_store_sql.py::test_a_fork_with_a_used_store",
    ),
    Fault(
        "a link and its hand-offs are stored together", "store/database.py",
        "            isolation_level=_ISOLATION[name],\n", "",
        "test_store_sql.py::test_all_or_nothing",
    ),
    Fault(
        "several processes may create the tables", "store/database.py",
        "tries = len(tables) + len(indexes) + 1", "tries = 1",
        "test_store_sql.py::test_processes_create_the_tables_at_once",
    ),
    Fault(
        "the clock is the database's", "store/database.py",
        'func.strftime(form, "now", ', "func.strftime(form, datetime.now(UTC).isoformat(), ",
        "test_store_sql.py::test_the_clock_is_the_databases",
    ),
    Fault(
        "an error shows no values", "store/database.py",
        "hide_parameters=True", "hide_parameters=False",
        "test_store_sql.py::test_an_error_of_the_database_shows_no_values",
    ),
    Fault(
        "no password is shown", "store/database.py",
        'or "@" in (url.host or "")', "",
        "test_store_sql.py::test_an_unusable_url",
    ),
    Fault(
        "a row in another's place is not read", "store/cipher.py",
        "if not bound.startswith(about):", "if False:",
        "test_store_cipher.py::test_rows_in_each_others_place "
        "test_store_cipher.py::test_a_row_that_says_it_is_anothers",
    ),
    Fault(
        "two keys in one text are not taken as one", "store/cipher.py",
        'altchars=b"-_", validate=True', 'altchars=b"-_"',
        "test_store_cipher.py::test_malformed_keys",
    ),
    Fault(
        "the first key encrypts", "store/cipher.py",
        "fernet.MultiFernet(listed)", "fernet.MultiFernet(listed[::-1])",
        "test_store_cipher.py::test_all_keys_read_and_the_first_writes "
        "test_store_cipher.py::test_a_new_key",
    ),
    Fault(
        "the Item is stored before the callback", "_workflow/link.py",
        "                await keeper.keep_item(progress)\n", "                pass\n",
        "test_store_links.py::test_each_step_is_stored_before_the_next "
        "test_store_links.py::test_ctrl_c_inside_the_store_does_not_lose_the_item",
    ),
    Fault(
        "a token is stored before its callback", "_workflow/link.py",
        "                await keeper.keep(progress)\n                call.check()\n",
        "                pass\n",
        "test_store_links.py::test_each_step_is_stored_before_the_next",
    ),
    Fault(
        "the same public token gives the same result", "_workflow/link.py",
        "        if keeper.result is None:\n", "        if True:\n",
        "test_store_links.py::test_the_same_public_token_gives_the_same_result "
        "test_store_links.py::test_many_at_once_make_one_item",
    ),
    Fault(
        "a second call waits for the first", "_workflow/leases.py",
        "while not await call.port.run(partial(books.lease, lease)):",
        "while await call.port.run(partial(books.lease, lease)) is None:",
        "test_store_links.py::test_another_waits_until_its_deadline",
    ),
    Fault(
        "another user's public token is refused", "_workflow/keeping.py",
        "if record.client_user_id != client_user_id:", "if False:",
        "test_store_links.py::test_another_users_public_token_is_refused",
    ),
    Fault(
        "a store needs the user's id", "_workflow/keeping.py",
        "    if client_user_id is None:\n        raise", "    if client_user_id is None:\n"
        "        return 'nobody'\n        raise",
        "test_store_links.py::test_a_store_needs_the_users_id",
    ),
    Fault(
        "a spent token after a lost answer is unknown", "_workflow/link.py",
        "keeper.tried_before and", "False and",
        "test_store_links.py::test_an_exchange_without_an_answer_is_unknown",
    ),
    Fault(
        "a store's failure is a StoreError", "store/books.py",
        'raise StoreError(f"the store failed: {type(error).__name__}") from error', "raise",
        "test_store_links.py::test_a_store_that_fails_first_stops_the_link "
        "test_store_links.py::test_a_store_that_fails_later_leaves_the_item_in_the_error",
    ),
    Fault(
        "Ctrl-C inside the store loses no Item", "_workflow/keeping.py",
        "            save()  # Ctrl-C", "            # Ctrl-C",
        "test_store_links.py::test_ctrl_c_inside_the_store_does_not_lose_the_item",
    ),
    Fault(
        "a cancellation waits for the store", "_engine/ports.py",
        "                await asyncio.wait([future])", "                await future",
        "test_store_links.py::test_a_cancellation_waits_for_the_store",
    ),
    Fault(
        "with asyncio the store works on threads", "_engine/ports.py",
        "future = self._loop.run_in_executor(None, context.run, work)",
        "future = self._loop.create_future()\n        future.set_result(context.run(work))",
        "test_store_links.py::test_a_slow_store_holds_no_event_loop",
    ),
    Fault(
        "an issue that fails leaves nothing", "_workflow/keeping.py",
        "undone = Progress.of_result(self._before_call(self.before))", "undone = progress",
        "test_store_links.py::test_an_issue_that_fails_leaves_the_link_as_it_was",
    ),
    Fault(
        "an issue that fails leaves what was pending", "_workflow/keeping.py",
        "elif self.before is not None and not progress.advanced:", "elif False:",
        "test_store_links.py::test_an_issue_that_fails_leaves_what_was_pending",
    ),
    Fault(
        "a link that failed temporarily is recovered", "_workflow/keeping.py",
        "left = missing and may_pass(errors)", "left = False",
        "test_recover.py::test_a_link_that_failed_temporarily",
    ),
    Fault(
        "a link that failed for good is its caller's", "_workflow/keeping.py",
        "left = missing and may_pass(errors)", "left = missing",
        "test_recover.py::test_a_link_that_failed_for_good",
    ),
    Fault(
        "a refresh that failed leaves nothing to recover", "_workflow/keeping.py",
        "left = missing and may_pass(errors)", "left = may_pass(errors)",
        "test_recover.py::test_a_refresh_that_failed_leaves_nothing_to_recover",
    ),
    Fault(
        "what is left to recover stays, whatever is called meanwhile", "store/books.py",
        "missing = left and record.state is LinkState.LINKED", "missing = False",
        "test_recover.py::test_what_is_left_to_recover_stays",
    ),
    Fault(
        "resume waits for the recovery", "_workflow/keeping.py",
        "if books is None or keeper is None or not keeper.entry.record.under_way:", "if True:",
        "test_recover.py::test_a_resume_waits_for_the_recovery",
    ),
    Fault(
        "two calls that change one link lose nothing", "store/books.py",
        "    if mine is None or theirs is None:\n", "    if True:\n",
        "test_store_links.py::test_two_calls_change_one_link_at_the_same_moment",
    ),
    Fault(
        "an Item that is gone is removed in the store", "_workflow/life.py",
        "if keeper is not None and _is_gone(status):", "if False:",
        "test_store_links.py::test_refresh_stores_what_went_and_what_came",
    ),
    # The recorded hand-off
    Fault(
        "the record says sending before Finix is asked", "handoff/finix.py",
        "                await recorder.sending([each.id for each in listed])\n",
        "                pass\n",
        "test_store_handoff.py::test_once_and_recorded_at_each_step "
        "test_store_handoff.py::test_killed_between_finix_and_the_record "
        "test_store_handoff.py::test_a_store_that_fails_first_sends_nothing",
    ),
    Fault(
        "what is done is not sent again", "_workflow/ledger.py",
        "if not again and all(map(self._has, tokens)):", "if False:",
        "test_store_handoff.py::test_once_and_recorded_at_each_step "
        "test_store_handoff.py::test_layer_has_all_tokens_and_is_not_asked_again",
    ),
    Fault(
        "hand-offs come one after the other", "_workflow/handing_over.py",
        "            await stack.enter_async_context(leased(own, books, name))\n",
        "            pass\n",
        "test_store_handoff.py::test_two_at_once_make_one_instrument "
        "test_store_handoff.py::test_two_processes_make_one_instrument",
    ),
    Fault(
        "hand-offs of one business come one after the other", "_workflow/handing_over.py",
        "    if isinstance(sender, Sender):\n        leases.append",
        "    if False:\n        leases.append",
        "test_store_handoff.py::test_two_processes_drop_nothing_at_layer",
    ),
    Fault(
        "a call that slept beyond its lease sends nothing", "_workflow/ledger.py",
        "unless_taken=not self._sending", "unless_taken=False",
        "test_store_handoff.py::test_a_call_that_slept_beyond_its_lease_sends_nothing "
        "test_store_handoff.py::test_a_refusal_of_one_that_slept_does_not_undo_anothers",
    ),
    Fault(
        "an unknown outcome is looked up", "_workflow/ledger.py",
        "if len(found) == 1:", "if False:",
        "test_store_handoff.py::test_what_was_made_is_found "
        "test_store_handoff.py::test_killed_between_finix_and_the_record "
        "test_store_handoff.py::test_a_store_that_fails_after_the_answer_loses_nothing",
    ),
    Fault(
        "what was there before is no trace", "_workflow/ledger.py",
        "if len(found) == 1:", "if found:",
        "test_store_handoff.py::test_of_several_new_ones_none_is_taken",
    ),
    Fault(
        "what is of another token is no trace", "_workflow/ledger.py",
        "known = {*handoff.before, *others}", "known = {*handoff.before}",
        "test_store_handoff.py::test_what_is_of_another_token_is_not_taken",
    ),
    Fault(
        "no second one where it cannot be told", "_workflow/ledger.py",
        "if handoff.state not in _UNSETTLED:", "if True:",
        "test_store_handoff.py::test_what_a_failure_leaves "
        "test_store_handoff.py::test_killed_before_finix_has_read_it "
        "test_store_handoff.py::test_a_function_that_fails "
        "test_store_handoff.py::test_an_unknown_outcome_at_another_identity",
    ),
    Fault(
        "a refusal does not settle an unknown outcome", "_workflow/ledger.py",
        "elif was.state in _UNSETTLED and not settled:", "elif False:",
        "test_store_handoff.py::test_a_failed_look_settles_nothing",
    ),
    Fault(
        "a new token does not make an unknown one due", "store/sealing.py",
        " and before.state not in _OPEN:", ":",
        "test_store_handoff.py::test_an_unknown_outcome_is_not_forgotten_with_a_new_token",
    ),
    Fault(
        "an answer is recorded before the interruption is raised", "handoff/sending.py",
        "        if keep is not None:\n            await keep(value)\n        call.check()\n",
        "        call.check()\n        if keep is not None:\n            await keep(value)\n",
        "test_store_handoff.py::test_cancelled_while_finix_is_at_it "
        "test_store_handoff.py::test_ctrl_c_while_finix_is_at_it",
    ),
    Fault(
        "a refusal is recorded before the interruption is raised", "_workflow/ledger.py",
        "cause = error if isinstance(error, Exception) else error.__cause__", "cause = error",
        "test_store_handoff.py::test_cancelled_and_refused",
    ),
    Fault(
        "a store that fails names what the partner has", "_workflow/ledger.py",
        "error.add_note(f\"{self._partner} has it,", "str(f\"{self._partner} has it,",
        "test_store_handoff.py::test_a_store_that_fails_after_the_answer_loses_nothing",
    ),
    Fault(
        "no secret of a function's error is stored", "_workflow/ledger.py",
        "redact(str(error)) if isinstance(error, HandoffError) else type(error).__name__",
        "str(error)",
        "test_store_handoff.py::test_a_function_that_fails",
    ),
    Fault(
        "an expired token is refused", "_workflow/ledger.py",
        "            if token.expired:\n", "            if False:\n",
        "test_store_handoff.py::test_an_expired_token_is_refused",
    ),
    Fault(
        "what Layer does not list is unknown", "_workflow/ledger.py",
        "if account_id in missing:", "if False:",
        "test_store_handoff.py::test_a_token_that_layer_does_not_list_is_unknown",
    ),
    Fault(
        "tokens that are gone stay as they are", "_workflow/handing_over.py",
        "[living(tokens, dead)] if together", "[tokens] if together",
        "test_store_handoff.py::test_what_is_gone_is_left_out",
    ),
    Fault(
        "what was not sent to Finix is due", "_workflow/ledger.py",
        "self._sending and self._call.nothing_sent()", "False",
        "test_store_handoff.py::test_cancelled_before_anything_is_sent",
    ),
    Fault(
        "a wrong client claims no adopted Item", "store/books.py",
        "client_id=self.client_id if claim else record.client_id,", "client_id=self.client_id,",
        "test_store.py::test_a_wrong_client_does_not_claim_an_adopted_item",
    ),
    Fault(
        "an adopted Item was not linked since", "_workflow/recovery.py",
        'and each.key != adopted_key(each.environment, each.item_id or "")', "and True",
        "test_recover.py::test_an_item_that_was_adopted_since",
    ),
    Fault(
        "another account of the same public token is refused", "_workflow/keeping.py",
        "if ids and not ids.issuperset(partner.account_ids or ()):", "if False:",
        "test_store_links.py::test_another_account_of_the_same_public_token_is_refused",
    ),
    Fault(
        "what no database takes is refused", "_workflow/arguments.py",
        "if not given.isprintable():", "if False:",
        "test_store_links.py::test_a_text_that_no_database_takes_is_refused",
    ),
    Fault(
        "the accounts to verify are remembered", "_workflow/plan.py",
        "if partner.among is not None:", "if False:",
        "test_flow.py::test_the_accounts_to_verify_are_remembered",
    ),
    Fault(
        "a cancellation at the very end has the result", "_workflow/link.py",
        "if result is not None:  # a cancellation", "if False:  # a cancellation",
        "test_store_links.py::test_a_cancellation_at_the_very_end",
    ),
    # Many Items
    Fault(
        "an Item that has its tokens is passed over", "backfill/item.py",
        "if not self._has_all(stored):", "if True:",
        "test_backfill.py::test_an_item_gets_its_token_once",
    ),
    Fault(
        "an Item is claimed", "backfill/item.py",
        "if not books.lease(claim):", "if False:",
        "test_backfill.py::test_an_item_is_claimed",
    ),
    Fault(
        "an Item without consent is skipped", "backfill/item.py",
        "if not_consented(consented, self._adapter.products):", "if False:",
        "test_backfill.py::test_an_item_that_needs_its_user_is_skipped",
    ),
    Fault(
        "of several accounts none is guessed", "backfill/item.py",
        'raise _Over("several_accounts", eligible=fitting)', "chosen = fitting[0]",
        "test_backfill.py::test_the_caller_chooses_among_several "
        "test_backfill.py::test_an_item_that_needs_its_user_is_skipped",
    ),
    Fault(
        "what does not pass stops the run", "backfill/run.py",
        "            stop.set()\n        if on_outcome", "            pass\n        if on_outcome",
        "test_backfill.py::test_a_run_ends_where_no_item_fares_better",
    ),
    Fault(
        "a 429 slows everybody down", "backfill/item.py",
        "self._budget.slow_down(each.retry_after)", "pass",
        "test_backfill.py::test_a_429_slows_everybody_down",
    ),
    Fault(
        "what another has claimed is looked at again", "backfill/run.py",
        "if not claimed:", "if True:",
        "test_backfill.py::test_what_another_process_has_claimed_is_looked_at_again",
    ),
    Fault(
        "a dry run makes nothing", "backfill/item.py",
        "                if dry_run:\n", "                if False:\n",
        "test_backfill.py::test_all_items_that_lack_it",
    ),
    Fault(
        "links leaves out removed Items", "store/base.py",
        "            states=states,", "            states=None,",
        "test_store.py::test_links_by_each_filter",
    ),
    Fault(
        "links passes over what it cannot read only where that is asked for", "store/base.py",
        "if not skip_unreadable:", "if False:",
        "test_store.py::test_a_job_over_all_links_passes_over_what_cannot_be_read",
    ),
    Fault(
        "what a page may show has the missing tokens", "store/records.py",
        "for each in (self.result.entries if", "for each in (self.result.processor_tokens if",
        "test_store.py::test_what_a_page_may_show",
    ),
    Fault(
        "the application's own keys stay", "sandbox/serving.py",
        "_value_in(earlier, name) or new()", "new()",
        "test_world.py::test_an_applications_keys_stay "
        "test_world.py::test_a_key_of_your_own_is_not_replaced",
    ),
    Fault(
        "an outcome has the accounts to choose from", "backfill/item.py",
        '_Over("several_accounts", eligible=fitting)', '_Over("several_accounts")',
        "test_backfill.py::test_an_item_that_needs_its_user_is_skipped",
    ),
    Fault(
        "what the partner has is not made again", "_workflow/plan.py",
        "known.fingerprint in handed_over", "known.fingerprint is None",
        "test_store_handoff.py::test_a_token_that_the_partner_has_may_expire",
    ),
    Fault(
        "an account that went stays away", "store/books.py",
        "return old or given.fingerprint == way.fingerprint", "return False",
        "test_store.py::test_an_account_that_went_does_not_come_back_by_an_old_result",
    ),
    Fault(
        "a call of issue knows of another", "_workflow/keeping.py",
        "                shared = True", "                pass",
        "test_store.py::test_of_two_that_are_refused_at_once_nothing_stays",
    ),
    Fault(
        "what comes after the removal is not due", "store/sealing.py",
        "    if record.state is LinkState.REMOVED:\n", "    if False:\n",
        "test_store_handoff.py::test_a_token_that_comes_after_the_removal_is_not_due "
        "test_store_handoff.py::test_what_comes_after_an_erasure_is_not_due",
    ),
    Fault(
        "without an id no Item is taken", "backfill/item.py",
        '    text("item_id", item_id)', '    str(item_id)',
        "test_backfill.py::test_without_an_id_no_item_is_taken",
    ),
    Fault(
        "a row that cannot be read stops no other", "backfill/item.py",
        "    except DecryptionError as error:", "    except ZeroDivisionError as error:",
        "test_backfill.py::test_a_row_that_cannot_be_read_stops_no_other",
    ),
    Fault(
        "what the rule found is not bound", "backfill/item.py",
        "for among in () if self._chosen else (self._accounts, these):", "for among in ():",
        "test_backfill.py::test_what_the_rule_found_is_not_bound",
    ),
    Fault(
        "a newer token is of an account that came back", "store/books.py",
        "return old or given.fingerprint == way.fingerprint", "return True",
        "test_store.py::test_an_account_that_came_back_is_kept "
        "test_store.py::test_an_adopted_token_of_an_account_that_came_back_is_kept",
    ),
    Fault(
        "a refused call undoes what it did alone", "_workflow/keeping.py",
        "Progress.of_result(self._before_call(self.before))", "Progress.of_result(self.before)",
        "test_store.py::test_of_two_that_are_refused_at_once_nothing_stays",
    ),
    Fault(
        "the reference of a missing token stays", "store/sealing.py",
        "known[key] = evolve(way, state=HandoffState.REFUSED, error=reason)",
        "known[key] = evolve(way, state=HandoffState.REFUSED, error=reason, reference=None)",
        "test_store.py::test_a_reference_outlives_that_its_token_is_missing",
    ),
    Fault(
        "what is being sent is not made again", "_workflow/keeping.py",
        "had = (HandoffState.DONE, HandoffState.SENDING)", "had = (HandoffState.DONE,)",
        "test_store_handoff.py::test_a_token_that_expires_while_it_is_sent",
    ),
    Fault(
        "a back-fill applies the rule once", "backfill/item.py",
        "else (self._accounts, these):", "else (these,):",
        "test_backfill.py::test_the_rule_is_applied_once",
    ),
    Fault(
        "no token is stored in clear in an id", "_workflow/arguments.py",
        "if redact(given) != given:", "if False:",
        "test_store.py::test_what_is_no_item_is_not_adopted",
    ),
    Fault(
        "a part of a token that is a secret lets no token through", "redaction.py",
        "others = [each for each in in_order if not _PLAID_TOKEN.search(each)]", "others = []",
        "test_redaction.py::test_a_secret_that_is_a_part_of_a_token_lets_no_token_through",
    ),
    Fault(
        "a token that pytest cuts is masked", "pytest_plugin.py",
        '_REST.sub("…", ', '(lambda whole: whole)(',
        "test_pytest_plugin.py::test_a_token_that_pytest_cuts_is_masked_too",
    ),
    Fault(
        "what never began is settled by its caller", "_engine/call.py",
        "answered = attempt.began is not None and attempt", "answered = attempt",
        "test_threads_and_time.py::test_what_was_not_sent_by_the_deadline_is_said_once",
    ),
    Fault(
        "a pool that is none of urllib3's is refused after a fork", "client.py",
        "if not issubclass(type(pool), urllib3.PoolManager):", "if False:",
        "test_threads_and_time.py::test_a_fork_refuses_a_pool_that_cannot_be_made_again",
    ),
    Fault(
        "Layer is sent no more than can be read back", "handoff/layer.py",
        "if not missing or call.deadline.end - began < 2 * sum(call.times):", "if not missing:",
        "test_handoff_engine.py::test_layer_is_not_sent_again_when_it_cannot_be_read_back",
    ),
    Fault(
        "what another plugin's report holds stays as it is", "pytest_plugin.py",
        'if hasattr(report.longrepr, "reprcrash"):', "if True:",
        "test_pytest_plugin.py::test_the_report_of_another_plugin_is_masked_in_its_text",
    ),
    Fault(
        "a reason of xfail is masked", "pytest_plugin.py",
        "report.wasxfail = _masked(report.wasxfail)", "pass",
        "test_pytest_plugin.py::test_reasons_and_modules_show_no_token",
    ),
    Fault(
        "Ctrl-C after a session's Item keeps it", "_workflow/sessions.py",
        "        linked = tuple(results)\n    except BaseException as interruption:\n"
        "        if results or failures:\n",
        "        linked = tuple(results)\n    except BaseException as interruption:\n"
        "        if False:\n",
        "test_threads_and_time.py::test_ctrl_c_at_each_moment_of_a_session",
    ),
    Fault(
        "close that was interrupted can be called again", "_engine/engine.py",
        "self._made.get(world())  # and", "self._made.pop(world(), None)  # and",
        "test_threads_and_time.py::test_ctrl_c_at_each_moment_of_close",
    ),
    Fault(
        "Ctrl-C leaves no claim of a back-fill", "backfill/item.py",
        "books.release(claim)  # Ctrl-C", "pass  # Ctrl-C",
        "test_threads_and_time.py::test_ctrl_c_at_each_moment_leaves_no_claim",
    ),
    Fault(
        "Ctrl-C in a write leaves SQLite free", "store/database.py",
        '        event.listen(engine, "invalidate", _roll_back)\n', "",
        "test_store_sql.py::test_ctrl_c_between_a_write_and_its_commit",
    ),
    Fault(
        "threads of a back-fill that could not begin end", "backfill/run.py",
        "        for _ in threads:  # first, as this takes no lock\n            jobs.put(None)\n",
        "        pass\n",
        "test_backfill.py::test_ctrl_c_while_its_threads_start",
    ),
    Fault(
        "a forked child keeps an ApiClient's pool", "client.py",
        "pool = copy(pool)\n", "pool = urllib3.PoolManager()\n",
        "test_threads_and_time.py::test_a_fork_keeps_the_pool_of_an_api_client",
    ),
    Fault(
        "a secret that is changed is masked", "_plaid/call.py",
        "outcome_of(request, answer, keys)", "outcome_of(request, answer, ())",
        "test_client.py::test_a_secret_that_its_owner_changes_is_masked_too",
    ),
    Fault(
        "the log is silent where it names no threads", "_engine/http.py",
        "threading.current_thread().name.startswith", '(record.threadName or "").startswith',
        "test_sentinels.py::test_nothing_shows_where_tokens_and_answers_are_odd",
    ),
    Fault(
        "the end of what is not waited for has its seconds", "_engine/call.py",
        "evolve(failure, seconds=monotonic() - attempt.began)", "failure",
        "test_events.py::test_an_answer_that_is_no_longer_waited_for",
    ),
    Fault(
        "Ctrl-C at the end of a turn leaves it free", "_engine/call.py",
        "if turn in _turns and _turns[turn] is self:", "if _turns.get(turn) is self:",
        "test_threads_and_time.py::test_ctrl_c_at_each_moment_of_a_turn",
    ),
    Fault(
        "Ctrl-C as a lease is given back leaves it free", "_workflow/leases.py",
        "            books.release(lease)  # Ctrl-C", "            pass  # Ctrl-C",
        "test_threads_and_time.py::test_ctrl_c_at_each_moment_with_a_store",
    ),
    Fault(
        "Ctrl-C comes out though the store fails", "_workflow/leases.py",
        "            with suppress(StoreError):\n    ", "            if True:\n    ",
        "test_store_links.py::test_ctrl_c_comes_out_though_the_store_fails",
    ),
    Fault(
        "nothing is sent after the deadline", "_engine/threads.py",
        "if not (self.left or self.over())", "if not self.left",
        "test_threads_and_time.py::test_nothing_is_sent_after_the_deadline",
    ),
    Fault(
        "a whole answer that is late is taken", "_engine/http.py",
        "late = monotonic() > end\n",
        "if monotonic() > end: return HttpFailure(reason=TIMED_OUT, sent=True)\n",
        "test_threads_and_time.py::test_a_whole_answer_that_is_late_is_not_lost",
    ),
    Fault(
        "an ended loop gives its lease back", "_engine/ports.py",
        "if self._loop.is_closed():  # its", "if False:  # its",
        "test_threads_and_time.py::test_a_lease_of_a_loop_that_has_ended_is_given_back",
    ),
    Fault(
        "Layer is read back in time", "handoff/layer.py",
        "end = min(now + (now - began), call.deadline.end - sum(call.times))",
        "end = now + (now - began)",
        "test_handoff_engine.py::test_layer_is_read_back_before_the_deadline",
    ),
    Fault(
        "a masked report is summed up in its error", "pytest_plugin.py",
        "        _mask_within(report.longrepr)", "        pass",
        "test_pytest_plugin.py::test_a_masked_report_is_summed_up_in_its_error",
    ),
    Fault(
        "an account that is picked twice gets one token", "_workflow/accounts.py",
        "tuple(dict.fromkeys(adapter.select_accounts(accounts)))",
        "tuple(adapter.select_accounts(accounts))",
        "test_selection.py::test_an_account_that_is_picked_twice_gets_one_token",
    ),
    Fault(
        "a stop ends the wait for the budget", "backfill/budget.py",
        "while not stop.is_set():", "while True:",
        "test_backfill.py::test_a_stop_ends_the_wait",
    ),
]
# fmt: on


def run(copied: Path, *arguments: str) -> str:
    """What Python writes, with this copy as its `plaid_processors`; "hangs" if it does not end."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(copied.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    )
    with process:
        try:
            return process.communicate(timeout=SECONDS)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "hangs"


def copy_of_package(folder: str) -> Path:
    return Path(shutil.copytree(PACKAGE, Path(folder, PACKAGE.name)))


def is_imported() -> bool:
    """Whether a copy stands above the installed package, in a child's child as well."""
    code = "import plaid_processors as sdk; print(sdk.__file__)"
    in_a_child = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    with TemporaryDirectory() as folder:
        copied = copy_of_package(folder)
        found = {run(copied, "-c", code).strip(), run(copied, "-c", in_a_child, code).strip()}
        return found == {str(copied / "__init__.py")}


def complaints(fault: Fault) -> list[str]:
    """What is wrong with a fault: the tests that pass with it, or that it does not fit."""
    text = (PACKAGE / fault.file).read_text(encoding="utf-8")
    if (count := text.count(fault.old)) != 1:
        return [f"it no longer fits: its old text is in {fault.file} {count} times"]
    tests = [f"tests/{each}" for each in fault.tests.split()]
    if absent := [each for each in fault.tests.split() if f"`{each}`" not in PROMISES]:
        return [f"promises.md does not name {', '.join(absent)}"]
    with TemporaryDirectory() as folder:
        copied = copy_of_package(folder)
        (copied / fault.file).write_text(text.replace(fault.old, fault.new), encoding="utf-8")
        # By plain asserts, since there is no need to see why a test fails: it takes half the time.
        options = ("-q", "-n0", "--assert=plain", "-p", "no:cacheprovider")
        options += ("-m", "slow or full or not slow")  # named, these marks are not skipped
        written = run(copied, "-m", "pytest", *options, *tests)
    if written == "hangs":
        return []
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+?::\w+)", written, re.MULTILINE)
    return [f"not noticed by {each}" for each in tests if each not in failed]


def main() -> int:
    chosen = [each for each in FAULTS if len(sys.argv) == 1 or each.file in sys.argv[1:]]
    assert is_imported(), "the copies are not what is imported"
    well = True
    with ThreadPoolExecutor(max_workers=2) as pool:
        for fault, wrong in zip(chosen, pool.map(complaints, chosen), strict=True):
            for each in wrong:
                print(f"{fault.promise} ({fault.file}): {each}", flush=True)  # noqa: T201
            well = well and not wrong
    print(f"{len(chosen)} faults, {'all noticed' if well else 'not all noticed'}")  # noqa: T201
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
