"""``plaid-processors trigger``: a webhook that a running local Plaid signs, sent to your server.

It needs no package of the extra "sandbox": it speaks to both over HTTP, and directly, since what
a developer runs on this machine is behind no proxy.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import re
from difflib import get_close_matches
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ..errors import PlaidProcessorsError
from ..webhooks.event import TABLE
from .hiding import hidden
from .local import PORT, NoLocalPlaidError
from .output import tell, warn

SUMMARY = "have a local Plaid sign a webhook, and send it"
EXAMPLES = """\
The bank wants the user to log in again:
  plaid-processors trigger ITEM ERROR --item ITEM_ID \\
    --to http://localhost:8000/webhooks/plaid"""

_ADDRESS = re.compile(
    r"https?://([\w.-]+|\[[\w.:]+\])(:\d+)?([/?][!-~]*)?", re.ASCII | re.IGNORECASE
)
# https://plaid.com/docs/api/webhooks/: how long Plaid waits for an answer.
_PATIENCE = 10


class NotSentError(PlaidProcessorsError):
    """The webhook was not sent, or not accepted."""


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("webhook_type", metavar="WEBHOOK_TYPE", help="such as ITEM")
    command.add_argument("webhook_code", metavar="WEBHOOK_CODE", help="such as ERROR")
    command.add_argument("--item", metavar="ID", help="Plaid's id of the Item that it is about")
    command.add_argument(
        "--to",
        type=_address,
        metavar="URL",
        help="where it is sent, on any machine; default: the Item's own webhook address",
    )
    command.add_argument(
        "--at",
        type=_address,
        metavar="URL",
        help=f"the local Plaid; default: PLAID_BASE_URL, else http://127.0.0.1:{PORT}",
    )
    command.add_argument(
        "--set",
        type=_field,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field of its body, such as status=SUCCESS; the value is read as JSON if it is "
        "JSON, else as text; can be repeated",
    )
    command.add_argument(
        "--as-is",
        action="store_true",
        help="send the type and the code as they are written, whether or not they are known",
    )
    command.add_argument(
        "--age",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="how long ago it was signed; a handler refuses more than 300; default: 0",
    )


def run(arguments: argparse.Namespace) -> None:
    kind, code = arguments.webhook_type, arguments.webhook_code
    if arguments.to is None and arguments.item is None:
        arguments.refuse("--to or --item is needed: where the webhook is sent")
    if not arguments.as_is:
        kind, code = _known(arguments)
    at = arguments.at or _address_of_plaid()
    order = {"webhook_type": kind, "webhook_code": code, "item_id": arguments.item}
    signed = _ask(at, {**order, "age": arguments.age, "fields": dict(arguments.set)})
    to = arguments.to
    if to is None:
        if signed["url"] is None:
            raise NotSentError("this Item has no webhook address: name one with --to")
        # Plaid takes an address without a scheme.
        to = urlsplit(signed["url"] if "://" in signed["url"] else f"http://{signed['url']}")
    shown = _shown(to)
    try:
        status, _ = _post(to, signed["body"], signed["headers"])
    except TimeoutError:
        raise NotSentError(
            f"{shown} did not answer within {_PATIENCE} seconds, as long as Plaid waits"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotSentError(f"{shown} cannot be reached: {_reason(error)}") from None
    if not 200 <= status <= 299:
        raise NotSentError(f"{shown} answered {status} to {kind} / {code}")
    tell(hidden(f"{kind} / {code} sent to {shown}: {status}", f"{kind} {code}"))


def _ask(at: SplitResult, order: dict[str, Any]) -> dict[str, Any]:
    """Have the local Plaid sign a webhook."""
    path = f"{at.path.rstrip('/')}/_sandbox/webhook"
    body = json.dumps(order)
    try:
        status, answer = _post(at._replace(path=path), body, {"Content-Type": "application/json"})
    except ConnectionRefusedError:
        raise NoLocalPlaidError(_shown(at), at.port) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoLocalPlaidError(_shown(at), at.port, f" ({_reason(error)})") from None
    try:
        read = json.loads(answer)
    except ValueError:
        read = None
    if status == 200 and isinstance(read, dict) and {"url", "body", "headers"} <= read.keys():
        return read
    if isinstance(read, dict) and isinstance(read.get("error"), str):
        raise NotSentError(f"the local Plaid did not sign it: {read['error']}")
    raise NoLocalPlaidError(_shown(at), at.port, f" (it answered {status})")


def _post(url: SplitResult, body: str, headers: dict[str, str]) -> tuple[int, bytes]:
    secure = url.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    # Without a port, http.client would look for one in the number of an IPv6 address.
    port = url.port or (443 if secure else 80)
    connection = connect(url.hostname or "", port, timeout=_PATIENCE)
    try:
        target = f"{url.path or '/'}{f'?{url.query}' if url.query else ''}"
        connection.request("POST", target, body.encode(), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _known(arguments: argparse.Namespace) -> tuple[str, str]:
    """The webhook as Plaid writes it. Plaid adds codes, so an unknown one is sent; no slip is."""
    given = arguments.webhook_type, arguments.webhook_code
    known = {" ".join(each): each for each in TABLE}
    name = " ".join(given).upper()
    if name in known:
        return known[name]
    what = f"{' / '.join(given)} is none of the webhooks of this workflow"
    close = get_close_matches(name, known, n=1, cutoff=0.8)
    if close:
        arguments.refuse(f"{what}: did you mean {close[0]}? --as-is sends it all the same")
    warn(hidden(f"{what}; it is sent as it is", " ".join(given)))
    return given


def _shown(url: SplitResult) -> str:
    """The address without its query and what in its path may be a secret."""
    return hidden(f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}", url.path)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


def _address_of_plaid() -> SplitResult:
    named = os.environ.get("PLAID_BASE_URL", "").strip()
    try:
        return _address(named or f"http://127.0.0.1:{PORT}")
    except argparse.ArgumentTypeError as error:
        raise NotSentError(f"PLAID_BASE_URL {error}") from None


def _address(text: str) -> SplitResult:
    try:
        parts = urlsplit(text if _ADDRESS.fullmatch(text) else "")
        if parts.hostname and parts.port != 0:
            return parts
    except ValueError:  # a port or a number in brackets that cannot be
        pass
    raise argparse.ArgumentTypeError("must be an address such as http://localhost:8000/hook")


def _field(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError("must be NAME=VALUE, such as status=SUCCESS")
    try:
        read = json.loads(value)
        json.dumps(read, allow_nan=False)  # NaN, and what no number can hold, is text
    except (ValueError, RecursionError):
        return name, value
    return name, read


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError("must be a number of seconds")
    return number
