"""``plaid-processors sandbox``: a local Plaid, and the partners' stand-ins, until interrupted."""

from __future__ import annotations

import argparse
import os
import re
from contextlib import suppress
from functools import partial
from secrets import token_hex

SUMMARY = "serve a local Plaid until interrupted"
EXAMPLES = """\
Plaid, Layer and Finix on this machine, for an application that reads .env:
  plaid-processors sandbox --partners --env-file .env"""


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--partners",
        action="store_true",
        help="serve stand-ins for Layer and for Finix too, at the next two ports",
    )
    command.add_argument(
        "--env-file",
        metavar="FILE",
        help="write the environment variables of an application that uses it to this file, such "
        "as .env; other lines of the file stay",
    )
    command.add_argument(
        "--seed",
        type=_seed,
        default="random",
        help="a number or a text that all ids, tokens and keys are made from; default: %(default)s,"
        " another one at each start",
    )
    command.add_argument("--host", type=_host, default="127.0.0.1", help="default: %(default)s")
    command.add_argument("--port", type=_port, default=8080, help="default: 8080; 0: a free one")
    command.add_argument(
        "--client-id",
        type=partial(_hexadecimal, digits=24),
        help="the only one accepted, with the secret in PLAID_SECRET or --secret; default: any",
    )
    command.add_argument(
        "--secret",
        type=partial(_hexadecimal, digits=30),
        help="the secret of --client-id. It stands in the list of processes; the environment "
        "variable PLAID_SECRET is safer",
    )
    command.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a host name that the control plane and Link's pages may be asked by, such as a "
        "container's; the loopback's and --host are allowed; can be repeated",
    )
    command.add_argument(
        "--remote-webhooks", action="store_true", help="send webhooks to other machines too"
    )


def run(arguments: argparse.Namespace) -> None:
    from ..sandbox import serve

    client_id, secret = arguments.client_id, arguments.secret
    if client_id is not None and secret is None and "PLAID_SECRET" in os.environ:
        try:
            secret = _hexadecimal(os.environ["PLAID_SECRET"], digits=30)
        except argparse.ArgumentTypeError as error:
            arguments.refuse(f"PLAID_SECRET {error}")
    if (client_id is None) != (secret is None):
        arguments.refuse("--client-id and --secret go together; the secret may be in PLAID_SECRET")
    if arguments.partners and arguments.port > 65533:
        arguments.refuse("--partners takes the next two ports: --port must be at most 65533")
    with suppress(BrokenPipeError):  # `| head -0`: there was no reader for its address
        serve(
            arguments.host,
            arguments.port,
            client_id,
            secret,
            seed=token_hex(8) if arguments.seed == "random" else arguments.seed,
            allowed_hosts=arguments.allow_host,
            remote_webhooks=arguments.remote_webhooks,
            partners=arguments.partners,
            env_file=arguments.env_file,
        )


def _seed(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError("must be a number or a text in one line")
    return text


def _host(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("must be a number from 0 to 65535")
    return number


def _hexadecimal(text: str, digits: int) -> str:
    if not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", text):
        raise argparse.ArgumentTypeError(f"must be {digits} hexadecimal digits")
    return text
