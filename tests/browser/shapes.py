"""Link's shape: each key that its callbacks' metadata has (react-plaid-link 5, dist/types)."""

from __future__ import annotations

EVENT_KEYS = set(
    """
    account_number_mask error_type error_code error_message exit_status institution_id
    institution_name institution_search_query is_update_mode match_reason mfa_type routing_number
    view_name selection timestamp link_session_id request_id
    """.split()
)
ACCOUNT_KEYS = {"id", "name", "mask", "type", "subtype", "verification_status", "class_type"}
SUCCESS_KEYS = {"institution", "accounts", "account", "link_session_id", "transfer_status"}
EXIT_KEYS = {"institution", "status", "link_session_id", "request_id"}
ERROR_KEYS = {"error_type", "error_code", "error_message", "display_message"}
