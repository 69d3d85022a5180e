"""Plaid's error codes: the class of each, by what the caller does next, and advice. Data.

Every documented code (https://plaid.com/docs/errors/) stands here by name or goes by its type; so
does a code that is new. The class `PlaidApiError` itself is for what only Plaid can mend.
"""

from __future__ import annotations

from ..errors import (
    AccessTokenError,
    AuthenticationError,
    InvalidRequestError,
    ItemLoginRequiredError,
    ItemNotFoundError,
    ItemNotSupportedError,
    NotEnabledError,
    PlaidApiError,
    PlaidUnavailableError,
    PublicTokenError,
    RateLimitError,
)

_CODES: dict[type[PlaidApiError], str] = {
    PlaidUnavailableError: (
        "INTERNAL_SERVER_ERROR PLANNED_MAINTENANCE plaid-internal-error "
        "INSTITUTION_DOWN INSTITUTION_NOT_RESPONDING INSTITUTION_NOT_AVAILABLE "
        "UNSUPPORTED_RESPONSE PRODUCT_NOT_READY TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION "
        "ASSET_REPORT_GENERATION_FAILED DATA_QUALITY_CHECK_FAILED INCOME_VERIFICATION_UPLOAD_ERROR "
        "VERIFICATION_STATUS_PENDING_APPROVAL CUSTOMER_NOT_READY_FOR_ENABLEMENT "
        "TRANSACTION_EXECUTION_FAILED REQUEST_CONFLICT"
    ),
    ItemLoginRequiredError: (
        "ITEM_LOGIN_REQUIRED INVALID_CREDENTIALS INVALID_MFA INVALID_SEND_METHOD "
        "INVALID_PHONE_NUMBER INVALID_OTP INVALID_UPDATED_USERNAME INSUFFICIENT_CREDENTIALS "
        "ITEM_LOCKED USER_SETUP_REQUIRED PASSWORD_RESET_REQUIRED USER_INPUT_TIMEOUT "
        "ACCESS_NOT_GRANTED ADDITIONAL_CONSENT_REQUIRED MANUAL_VERIFICATION_REQUIRED "
        "NETWORK_CONSENT_REQUIRED RECAPTCHA_REQUIRED RECAPTCHA_BAD"
    ),
    ItemNotFoundError: "ITEM_NOT_FOUND ITEM_CONCURRENTLY_DELETED USER_PERMISSION_REVOKED",
    ItemNotSupportedError: (
        "ITEM_NOT_SUPPORTED MFA_NOT_SUPPORTED NO_ACCOUNTS NO_AUTH_ACCOUNTS NO_INVESTMENT_ACCOUNTS "
        "NO_INVESTMENT_AUTH_ACCOUNTS NO_LIABILITY_ACCOUNTS PRODUCTS_NOT_SUPPORTED "
        "INSTANT_MATCH_FAILED INSTITUTION_NO_LONGER_SUPPORTED "
        "INSTITUTION_NOT_ENABLED_IN_ENVIRONMENT TOO_MANY_VERIFICATION_ATTEMPTS DATA_UNAVAILABLE "
        "INSUFFICIENT_TRANSACTION_DATA PAYMENT_INSUFFICIENT_FUNDS PAYMENT_REJECTED "
        "PAYMENT_SCHEME_NOT_SUPPORTED TRANSFER_UNSUPPORTED_ACCOUNT_TYPE"
    ),
    PublicTokenError: "INVALID_PUBLIC_TOKEN",
    AccessTokenError: "INVALID_ACCESS_TOKEN",
    AuthenticationError: "INVALID_API_KEYS",
    NotEnabledError: (
        "INVALID_PRODUCT PRODUCT_NOT_ENABLED DIRECT_INTEGRATION_NOT_ENABLED "
        "UNAUTHORIZED_ENVIRONMENT UNAUTHORIZED_ROUTE_ACCESS UNAUTHORIZED_INSTITUTION "
        "INSTITUTION_REGISTRATION_REQUIRED CREDITS_EXHAUSTED SANDBOX_PRODUCT_NOT_ENABLED "
        "NOT_ENABLED_FOR_SIGNAL_TRANSACTION_SCORE_RULESETS ADDENDUM_NOT_SIGNED RULESET_NOT_FOUND "
        "TRANSFER_UI_UNAUTHORIZED UNAUTHORIZED_ACCESS INCOMPLETE_CUSTOMER_ONBOARDING "
        "INSIGHTS_NOT_ENABLED FLOWDOWN_NOT_COMPLETE QUESTIONNAIRE_NOT_COMPLETE"
    ),
    PlaidApiError: (
        "BANK_TRANSFER_ACCOUNT_BLOCKED TRANSFER_ACCOUNT_BLOCKED PAYMENT_BLOCKED "
        "CUSTOMER_REMOVAL_NOT_ALLOWED INVALID_CONFIGURATION_STATE "
        "PLAID_DIRECT_ITEM_IMPORT_RETURNED_INVALID_MFA"
    ),
}
BY_CODE = {code: error for error, codes in _CODES.items() for code in codes.split()}

_TYPES: dict[type[PlaidApiError], str] = {
    PlaidUnavailableError: "API_ERROR INSTITUTION_ERROR",
    RateLimitError: "RATE_LIMIT_EXCEEDED",
    InvalidRequestError: (
        "INVALID_REQUEST INVALID_INPUT INVALID_RESULT OAUTH_ERROR USER_ERROR PARTNER_ERROR "
        "PAYMENT_ERROR TRANSFER_ERROR TRANSACTION_ERROR SIGNAL_ERROR SANDBOX_ERROR "
        "ASSET_REPORT_ERROR CHECK_REPORT_ERROR CONSUMER_REPORT_ERROR INCOME_VERIFICATION_ERROR"
    ),
}
BY_TYPE = {kind: error for error, kinds in _TYPES.items() for kind in kinds.split()}

RETRYABLE = frozenset(
    "INTERNAL_SERVER_ERROR PLANNED_MAINTENANCE plaid-internal-error "
    "INSTITUTION_DOWN INSTITUTION_NOT_RESPONDING INSTITUTION_NOT_AVAILABLE".split()
)
"""The codes above after which the same call may succeed in a moment; never CREDITS_EXHAUSTED, which
comes as a rate limit. What does not stand above is decided by its type and its HTTP status."""

ADVICE = {
    "CREDITS_EXHAUSTED": (
        "Do not retry: the free usage is spent. Request full Production access at "
        "https://dashboard.plaid.com."
    ),
    "INVALID_ACCOUNT_ID": (
        "The account is not of this Item, was closed, or is no longer shared: read the Item's "
        "accounts again; if the user has to share it anew, open Link in update mode."
    ),
    "INVALID_PROCESSOR": (
        "Plaid knows no partner of this name: the names are listed at "
        "https://plaid.com/docs/api/processors/#processortokencreate."
    ),
    "INVALID_INSTITUTION": "Check the institution_id; in the Sandbox, try ins_109508.",
    "ITEM_NOT_SUPPORTED": (
        "The partner does not support the country, the products or the type of this account: let "
        "the user link another one."
    ),
    "PRODUCT_NOT_ENABLED": (
        "The Item was made without this product, or your keys do not have it: name it in "
        "create_link_token(products=…) and let the user link again; see also "
        "https://dashboard.plaid.com, Products."
    ),
    "PRODUCT_NOT_READY": "The data is still being fetched: call again in a little while.",
    "USER_PERMISSION_REVOKED": (
        "The user withdrew the permission: remove the Item (linker.remove) and let them link again."
    ),
    "ADDITIONAL_CONSENT_REQUIRED": (
        "The user did not consent to this product: open Link in update mode with "
        "additional_consented_products."
    ),
    "INVALID_STRIPE_ACCOUNT": (
        "Stripe refuses the account: its reason stands in the message. The Stripe account has to "
        "be connected at https://dashboard.plaid.com/developers/integrations."
    ),
    "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION": (
        "The data changed meanwhile: call again, from the cursor of the first page."
    ),
}
