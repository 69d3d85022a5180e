"""The command line. Exit status: 0 success, 1 a failure, 2 wrong usage."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..errors import LinkIncompleteError, PlaidProcessorsError
from .hiding import hidden
from .linker import UsageError
from .marks import set_up_streams
from .output import finish, warn, write_error
from .parser import Ended, make_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = [*(sys.argv[1:] if argv is None else argv)]
    set_up_streams()
    try:
        status = _run(words)
        finish()
    except OSError as error:  # such as a full disk
        return _fail(error, words)
    return status


def _run(words: Sequence[str]) -> int:
    parser = make_parser()
    try:
        parser.refuse_unknown_command(words)
        arguments, rest = parser.parse_known_args(words)
        if rest:
            getattr(arguments, "refuse_rest", parser.refuse_rest)(rest)
        if "run" not in arguments:
            write_error(parser.format_help())
            return 2
        arguments.run(arguments)
    except Ended as ended:
        return int(str(ended.code))
    except LinkIncompleteError as error:
        # Its own advice is to store the result and to resume it.
        return _fail(error.__cause__ or error, words)
    except UsageError as error:
        _fail(error, words)
        return 2
    except (PlaidProcessorsError, OSError) as error:
        return _fail(error, words)
    except ModuleNotFoundError as error:
        return _fail(error)  # a missing extra is named by what needs it
    except KeyboardInterrupt:
        return _fail("interrupted")
    return 0


def _fail(error: BaseException | str, words: Sequence[str] = ()) -> int:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    warn(hidden(" ".join(text.split()), " ".join(words)))
    return 1
