"""The command line. Exit status: 0 success, 1 a failure, 2 wrong usage."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from .._version import __version__
from ..errors import LinkIncompleteError, PlaidProcessorsError
from . import backfill, demo, doctor, partners, recover, sandbox, trigger
from .hiding import hidden

PROG = "plaid-processors"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(hidden(message, message))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(words)
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
        # Its own advice is to store the result and to resume it.
        return _fail(error.__cause__ or error, words)
    except recover.UsageError as error:
        _fail(error, words)
        return 2
    except (PlaidProcessorsError, OSError) as error:
        return _fail(error, words)
    except ModuleNotFoundError as error:
        return _fail(
            f"the local Plaid needs {error.name}, which is not installed: "
            'pip install "plaid-processors[sandbox]"'
        )
    except KeyboardInterrupt:
        return _fail("interrupted")
    return 0


def _fail(error: BaseException | str, words: Sequence[str] = ()) -> int:
    shown = hidden(" ".join(str(error).split()), " ".join(words))
    print(f"{PROG}: {shown}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
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

    command = add("sandbox", sandbox.run, "serve a local Plaid until interrupted")
    sandbox.add_options(command)

    command = add("trigger", trigger.run, "have a local Plaid sign a webhook, and send it")
    trigger.add_options(command)

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

    command = add("backfill", backfill.run, "make a partner's tokens for all Items that lack them")
    command.add_argument("partner", help="Plaid's name of the partner, such as finix")
    command.add_argument(
        "--linker", required=True, metavar="MODULE:NAME", help="your linker, with its store"
    )
    command.add_argument(
        "--budget",
        default="memory://",
        metavar="URL",
        help="what all processes share the pace by, such as redis://localhost:6379/0; default: "
        "this process alone",
    )
    command.add_argument(
        "--per-minute", type=recover.count, default=450, help="tokens; default: %(default)s"
    )
    command.add_argument("--workers", type=recover.count, default=8, help="default: %(default)s")
    command.add_argument("--limit", type=recover.count, help="at most so many; default: all")
    command.add_argument("--dry-run", action="store_true", help="only look, and say how long")
    command.add_argument("--report", metavar="FILE", help="add a line of JSON for each Item to it")

    command = add("recover", recover.run, "finish what a crash left in a store")
    _add_store_options(command, "2m", "links that were stored so long ago")
    command = add(
        "refresh", recover.refresh, "look at the Items of a store, and renew their tokens"
    )
    _add_store_options(command, "1d", "Items that were stored so long ago")
    return parser


def _add_store_options(command: argparse.ArgumentParser, age: str, what: str) -> None:
    command.add_argument(
        "--linker",
        required=True,
        metavar="MODULE:NAME",
        help="where your ProcessorLinker is, or a function that returns one; it needs a store",
    )
    command.add_argument(
        "--older-than",
        type=recover.duration,
        default=age,
        metavar="TIME",
        help=f"only {what}: 90s, 2m, 1h or 1d; default: %(default)s",
    )
    command.add_argument("--limit", type=recover.count, help="at most so many; default: all")
