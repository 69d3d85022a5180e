"""The life of a link after it was made: what it asks for, how it stands, what changed."""

from __future__ import annotations

from enum import StrEnum


class LinkAction(StrEnum):
    """What a link asks for; members may be added, so a ``match`` needs a default.

    `repair`: the user goes through Link's update mode. `add_accounts`: update mode with account
    selection. `reissue`: new processor tokens. `stop`: the link, or an account of it, is over.
    `check`: look with `status` or `refresh`. `finish_link`: exchange what Link has made.
    """

    REPAIR = "repair"
    ADD_ACCOUNTS = "add_accounts"
    REISSUE = "reissue"
    STOP = "stop"
    CHECK = "check"
    FINISH_LINK = "finish_link"
