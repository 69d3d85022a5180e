"""The command line: ``plaid-processors demo``, ``sandbox``, ``partners`` and ``doctor``.

Exit status: 0 success, 1 a failure told in one line on stderr, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from types import ModuleType

PROG = "plaid-processors"


class _CommandError(Exception):
    """What the user is told in one line, with exit status 1."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = _parser().parse_args(argv)
    _print_anywhere()
    from .errors import PlaidProcessorsError

    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except (PlaidProcessorsError, OSError, _CommandError) as error:
        return _fail(_first_cause(error))
    except KeyboardInterrupt:
        return _fail(_CommandError("interrupted"))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROG,
        description="From Plaid Link's public_token to your partner's processor_token.",
    )
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands.add_parser)
    _add_sandbox(commands.add_parser)
    _add_partners(commands.add_parser)
    _add_doctor(commands.add_parser)
    return parser


def _add_demo(add: Callable[..., argparse.ArgumentParser]) -> None:
    demo = add(
        "demo",
        help="show a link for Layer and for Finix, step by step",
        description="Shows a link for Layer and for Finix, step by step, on a local Plaid.",
    )
    how = demo.add_mutually_exclusive_group()
    how.add_argument(
        "--browser",
        action="store_true",
        help="with you in front of Link, in your browser",
    )
    how.add_argument(
        "--live",
        action="store_true",
        help="on Plaid's own Sandbox, with PLAID_CLIENT_ID and PLAID_SECRET",
    )
    demo.set_defaults(run=_demo)


def _add_sandbox(add: Callable[..., argparse.ArgumentParser]) -> None:
    sandbox = add(
        "sandbox",
        help="serve a local Plaid until interrupted",
        description="Serves a local Plaid until interrupted; prints its address once it answers.",
    )
    sandbox.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    sandbox.add_argument("--port", type=_port, default=8080, help="default: 8080; 0: a free one")
    sandbox.add_argument(
        "--client-id", type=_key(24), help="the only one admitted, with --secret; default: any"
    )
    sandbox.add_argument("--secret", type=_key(30), help="the secret of --client-id")
    sandbox.set_defaults(run=_sandbox, refuse=sandbox.error)


def _add_partners(add: Callable[..., argparse.ArgumentParser]) -> None:
    partners = add(
        "partners",
        help="list Plaid's partners, or show one's rule with its source",
        description="Lists Plaid's partners that this version knows; with a name, shows its rule.",
    )
    partners.add_argument("name", nargs="?", help="Plaid's name of one partner, such as finix")
    partners.add_argument(
        "--accounts",
        choices=("one", "all", "given"),
        help="those that take one, all, or exactly those given",
    )
    partners.add_argument("--product", help="those that Link is opened for with it, such as auth")
    partners.add_argument("--subtype", help="those that take such an account, such as checking")
    partners.add_argument("--json", action="store_true", help="as JSON")
    partners.set_defaults(run=_partners)


def _add_doctor(add: Callable[..., argparse.ArgumentParser]) -> None:
    doctor = add(
        "doctor",
        help="check the keys, the environment, Link's products, a link, the integration",
        description=(
            "Checks a set-up with PLAID_CLIENT_ID, PLAID_SECRET and PLAID_ENV, and says what to "
            "do where something is wrong. In production it makes link tokens only."
        ),
    )
    doctor.add_argument(
        "partners", nargs="*", default=["layer", "finix"], help="default: layer finix"
    )
    doctor.set_defaults(run=_doctor)


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("must be a number from 0 to 65535")
    return port


def _key(digits: int) -> Callable[[str], str]:
    """The reader of a key of Plaid's: so many hexadecimal digits."""

    def read(text: str) -> str:
        if not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", text):
            raise argparse.ArgumentTypeError(f"must be {digits} hexadecimal digits")
        return text

    return read


def _demo(arguments: argparse.Namespace) -> None:
    from . import demo

    if arguments.live:
        demo.show_live()
    else:
        demo.show_local(_local_plaid().LocalSandbox, browser=arguments.browser)


def _partners(arguments: argparse.Namespace) -> None:
    from . import listing

    listing.show(arguments)


def _doctor(arguments: argparse.Namespace) -> None:
    from . import doctor

    doctor.run(arguments)


def _sandbox(arguments: argparse.Namespace) -> None:
    if (arguments.client_id is None) != (arguments.secret is None):
        arguments.refuse("--client-id and --secret go together")
    serve = _local_plaid().serve
    try:
        serve(arguments.host, arguments.port, arguments.client_id, arguments.secret)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise _CommandError(
            f"cannot serve at {arguments.host} port {arguments.port}: {reason}"
        ) from None


def _local_plaid() -> ModuleType:
    try:
        from . import sandbox
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(__package__):
            raise
        raise _CommandError(
            f"the local Plaid needs {error.name}, which is not installed: "
            'pip install "plaid-processors[sandbox]"'
        ) from None
    return sandbox


def _print_anywhere() -> None:
    # A terminal that has no "→" shows "?" rather than an error.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def _first_cause(error: BaseException) -> BaseException:
    # A link that stopped half-way advises to store and resume; here its reason is what matters.
    from .errors import LinkIncompleteError

    if isinstance(error, LinkIncompleteError) and error.__cause__ is not None:
        return error.__cause__
    return error


def _fail(error: BaseException) -> int:
    if isinstance(error, BrokenPipeError):
        # The reader has gone, and Python's own flush at the end must not complain of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        words = " ".join(str(error).split()) or type(error).__name__
        print(f"{PROG}: {words}", file=sys.stderr)
    return 1
