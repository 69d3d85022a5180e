"""The command line. Exit status: 0 success, 1 a failure, 2 wrong usage."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial

from .._version import __version__
from ..errors import LinkIncompleteError, PlaidProcessorsError
from . import demo, doctor, partners

PROG = "plaid-processors"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "→" shows "?"
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe. Python's own flush at exit must not report it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except LinkIncompleteError as error:
        return _fail(error.__cause__ or error)  # its own advice is to store the result and resume
    except (PlaidProcessorsError, OSError) as error:
        return _fail(error)
    except ModuleNotFoundError as error:
        return _fail(
            f"the local Plaid needs {error.name}, which is not installed: "
            'pip install "plaid-processors[sandbox]"'
        )
    except KeyboardInterrupt:
        return _fail("interrupted")
    return 0


def _fail(error: BaseException | str) -> int:
    print(f"{PROG}: {' '.join(str(error).split())}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROG, description="From Plaid Link's public_token to your partner's processor_token."
    )
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, run: Callable[..., None], summary: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=run, refuse=command.error)
        return command

    command = add("demo", demo.run, "show a link for Layer and for Finix, on a local Plaid")
    where = command.add_mutually_exclusive_group()
    where.add_argument("--browser", action="store_true", help="you go through Link yourself")
    where.add_argument("--live", action="store_true", help="on Plaid's own Sandbox, with your keys")

    command = add("sandbox", _serve, "serve a local Plaid until interrupted; print its address")
    command.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    command.add_argument("--port", type=_port, default=8080, help="default: 8080; 0: a free one")
    command.add_argument(
        "--client-id",
        type=partial(_hexadecimal, digits=24),
        help="the only one admitted, with --secret; default: any",
    )
    command.add_argument(
        "--secret", type=partial(_hexadecimal, digits=30), help="the secret of --client-id"
    )

    command = add("partners", partners.run, "list Plaid's partners, or show one with its source")
    command.add_argument("name", nargs="?", help="Plaid's name of one partner, such as finix")
    command.add_argument("--accounts", choices=("one", "all", "given"), help="what they take")
    command.add_argument("--product", help="those that Link is opened for with it, such as auth")
    command.add_argument("--subtype", help="those that take such an account, such as checking")
    command.add_argument("--json", action="store_true", help="as JSON")

    command = add("doctor", doctor.run, "check your set-up; in production, make link tokens only")
    command.add_argument(
        "partners", nargs="*", default=["layer", "finix"], help="default: layer finix"
    )
    return parser


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("must be a number from 0 to 65535")
    return number


def _hexadecimal(text: str, digits: int) -> str:
    if not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", text):
        raise argparse.ArgumentTypeError(f"must be {digits} hexadecimal digits")
    return text


def _serve(arguments: argparse.Namespace) -> None:
    from ..sandbox import serve

    host, port = arguments.host, arguments.port
    if (arguments.client_id is None) != (arguments.secret is None):
        arguments.refuse("--client-id and --secret go together")
    try:
        serve(host, port, arguments.client_id, arguments.secret)
    except OSError as error:
        raise OSError(f"cannot serve at {host} port {port}: {error.strerror or error}") from None
