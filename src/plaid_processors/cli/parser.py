"""The commands, their options and their help."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from typing_extensions import override

from .._version import __version__
from . import backfill, demo, doctor, partners, recover, refresh, sandbox, trigger
from .hiding import hidden
from .names import unknown
from .output import write_error

PROG = "plaid-processors"

COMMANDS = {
    "demo": demo,
    "sandbox": sandbox,
    "trigger": trigger,
    "partners": partners,
    "doctor": doctor,
    "backfill": backfill,
    "recover": recover,
    "refresh": refresh,
}

_ALSO_MEANT = {"help": "--help", "version": "--version"}


class Ended(SystemExit):
    """The parser has said all: help, a version, or what is wrong."""


class Parser(argparse.ArgumentParser):
    """Its errors suggest what may be meant, and show no secret that was given by mistake."""

    @override
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.format_usage()}{self.prog}: error: {hidden(message, message)}\n")

    @override
    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        if message:
            write_error(message)
        raise Ended(status)

    def refuse_unknown_command(self, words: Sequence[str]) -> None:
        """Refuse a command that there is not; argparse would list the others only."""
        # The options before a command take no values, so the first word is the command.
        given = next((word for word in words if not word.startswith("-")), None)
        if given is None or given in COMMANDS:
            return
        if given in _ALSO_MEANT:
            self.error(f"unknown command {given!r}: did you mean {_ALSO_MEANT[given]}?")
        self.error(unknown("command", given, COMMANDS))

    def refuse_rest(self, rest: list[str]) -> NoReturn:
        """Refuse arguments that are left over; an option may be a slip."""
        known = re.findall(r"--[a-z][a-z-]+", self.format_help())
        wrong = next((each.partition("=")[0] for each in rest if each.startswith("-")), "")
        too_many = self.get_default("too_many")
        if too_many and not wrong:
            self.error(f"{too_many}: leave out {' '.join(rest)}")
        close = get_close_matches(wrong, known, n=1)
        meant = f": did you mean {close[0]}?" if close else ""
        self.error(f"unrecognized arguments: {' '.join(rest)}{meant}")


def make_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(
        prog=PROG,
        description="From Plaid Link's public_token to your partner's processor_token.",
        epilog=f"Begin with this, which needs no keys:\n  {PROG} demo\n"
        f"Each command has its own help, such as:\n  {PROG} doctor --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # a new option must not change what an old script means
    )
    parser.add_argument("-V", "--version", action="version", version=f"{PROG} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=f"{module.SUMMARY[0].upper()}{module.SUMMARY[1:]}.",
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.set_defaults(run=module.run, refuse=command.error, refuse_rest=command.refuse_rest)
        module.add_options(command)
    return parser
