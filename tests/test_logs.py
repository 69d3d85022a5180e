"""The logging filter: no token of Plaid's in an application's own logs."""

from __future__ import annotations

import io
import logging
import logging.handlers
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaid_processors import ProcessorLinker, RedactingFilter

from .conftest import KEYS
from .support.faulty import PUBLIC_TOKEN, FaultyPlaid

ACCESS = "access-sandbox-5e171e1a-aaaa-4bbb-8ccc-0123456789ab"
PUBLIC = "public-production-5e171e1b-aaaa-4bbb-8ccc-0123456789ab"
SECRET = "5e" * 15


class Log:
    """A logger whose one handler has the filter, and what it wrote."""

    def __init__(self, form: str = "%(message)s") -> None:
        self.written = io.StringIO()
        self.handler = logging.StreamHandler(self.written)
        self.handler.setFormatter(logging.Formatter(form))
        self.handler.addFilter(RedactingFilter(secrets=(SECRET,)))
        self.logger = logging.Logger("my.shop", logging.DEBUG)
        self.logger.addHandler(self.handler)

    @property
    def text(self) -> str:
        return self.written.getvalue()


def fail(error: Exception) -> None:
    raise error


@pytest.fixture
def log() -> Log:
    return Log()


def test_the_message_and_its_arguments(log: Log) -> None:
    """A token is masked in the text, in an argument, and in a mapping."""
    log.logger.info("stored " + ACCESS)
    log.logger.info("stored %s of %s", ACCESS, 42)
    log.logger.info("stored %(token)s", {"token": PUBLIC})
    log.logger.info({"token": ACCESS})
    assert log.text.splitlines() == [
        "stored access-sandbox-…89ab",
        "stored access-sandbox-…89ab of 42",
        "stored public-production-…89ab",
        "{'token': 'access-sandbox-…89ab'}",
    ]


def test_a_key_that_was_named(log: Log) -> None:
    """Keys look like nothing in particular: those given are masked altogether."""
    log.logger.info("with %s", SECRET)
    assert log.text == "with …\n"
    try:
        fail(RuntimeError(f"key {SECRET}"))
    except RuntimeError:
        log.logger.exception("failed")
    assert "RuntimeError: key …" in log.text
    assert SECRET not in log.text
    record = logging.makeLogRecord({"msg": "m", "stack_info": f"f({SECRET})", "key": [SECRET]})
    RedactingFilter(secrets=(SECRET,)).filter(record)
    assert (record.stack_info, vars(record)["key"]) == ("f(…)", "['…']")


def test_an_exception_and_its_chain(log: Log) -> None:
    """The traceback keeps its lines, without the tokens in its messages."""
    try:
        try:
            fail(KeyError(PUBLIC))
        except KeyError as error:
            raise RuntimeError(f"no row for {ACCESS}") from error
    except RuntimeError:
        log.logger.exception("failed")
    assert "RuntimeError: no row for access-sandbox-…89ab" in log.text
    assert "KeyError: 'public-production-…89ab'" in log.text
    assert "test_an_exception_and_its_chain" in log.text
    assert ACCESS not in log.text
    assert PUBLIC not in log.text


def test_an_exception_without_a_token_stays_one() -> None:
    """Handlers that read the exception itself, as Sentry's do, still get it."""
    error = ValueError("no token here")
    record = logging.LogRecord("n", logging.ERROR, "f", 1, "m", (), (ValueError, error, None))
    assert RedactingFilter().filter(record)
    assert record.exc_info == (ValueError, error, None)


def test_what_another_handler_formatted_before(log: Log) -> None:
    """The text of an exception that another handler has kept on the record is masked too."""
    other = logging.StreamHandler(io.StringIO())
    log.logger.handlers.insert(0, other)
    try:
        fail(RuntimeError(ACCESS))
    except RuntimeError:
        log.logger.exception("failed")
    assert ACCESS not in log.text
    assert "RuntimeError: access-sandbox-…89ab" in log.text


def test_an_exception_of_another_process() -> None:
    """A record that was sent over a socket has the text of its exception only."""
    record = logging.makeLogRecord({"msg": "failed", "exc_text": f"RuntimeError: {ACCESS}"})
    assert RedactingFilter().filter(record)
    assert record.exc_text == "RuntimeError: access-sandbox-…89ab"


def test_the_stack(log: Log) -> None:
    """A stack that is logged is masked."""
    log.logger.info("here", stack_info=True)
    assert "test_the_stack" in log.text
    record = logging.LogRecord("n", logging.INFO, "f", 1, "m", (), None, sinfo=f"f({ACCESS!r})")
    RedactingFilter().filter(record)
    assert record.stack_info == "f('access-sandbox-…89ab')"


def test_extra_fields() -> None:
    """What the application adds to a record is masked, and kept as it is where it has no token."""
    log = Log("%(token)s %(both)s %(count)d")
    log.logger.info("m", extra={"token": ACCESS, "both": [ACCESS, PUBLIC], "count": 3})
    assert (
        log.text == "access-sandbox-…89ab ['access-sandbox-…89ab', 'public-production-…89ab'] 3\n"
    )
    fields = {"count": 3, "items": ["a"]}
    record = logging.makeLogRecord({"msg": "m", **fields})
    RedactingFilter().filter(record)
    assert {name: vars(record)[name] for name in fields} == fields


def test_the_fields_of_this_package(faulty_linker: ProcessorLinker) -> None:
    """What the package logs passes the filter as it is: numbers stay numbers, None stays None."""
    log = Log("%(event)s %(endpoint)s %(attempt)d %(status)s %(error_code)s %(seconds)r")
    logger = logging.getLogger("plaid_processors")
    logger.addHandler(log.handler)
    try:
        logger.setLevel(logging.DEBUG)
        faulty_linker.accounts(ACCESS)
    finally:
        logger.setLevel(logging.NOTSET)
        logger.removeHandler(log.handler)
    sent, answered = log.text.splitlines()
    assert sent == "sent /accounts/get 1 None None None"
    *words, seconds = answered.split()
    assert words == ["answered", "/accounts/get", "1", "200", "None"]
    assert float(seconds) > 0


class Unspeakable:
    """What cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


def test_a_call_that_does_not_fit(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong call is the application's mistake, but the filter neither raises nor shows it."""
    log.logger.info("%d tokens", ACCESS)
    log.logger.info("%s and %s", ACCESS)
    log.logger.info("odd", extra={"odd": Unspeakable()})
    log.logger.info(f"{ACCESS} of %d", Unspeakable())
    assert ACCESS not in log.text + capsys.readouterr().err
    assert log.text.count("access-sandbox-…89ab") == 3
    assert "<tuple>" in log.text  # of the arguments, whose repr fails, the type is left


def test_records_without_a_token_are_left_alone() -> None:
    """Message and arguments stay apart, for formatters that want them so."""
    record = logging.LogRecord("n", logging.INFO, "f", 1, "%s of %d", ("one", 2), None)
    assert RedactingFilter().filter(record)
    assert (record.msg, record.args) == ("%s of %d", ("one", 2))


def test_on_a_logger_too() -> None:
    """The filter may also stand on a logger, and then masks what that logger says."""
    written = io.StringIO()
    logger = logging.Logger("one", logging.DEBUG)
    logger.addHandler(logging.StreamHandler(written))
    logger.addFilter(RedactingFilter())
    logger.info("stored %s", ACCESS)
    assert written.getvalue() == "stored access-sandbox-…89ab\n"


def test_through_a_queue() -> None:
    """Records that go on through a queue, as to another thread, are masked before."""
    target = logging.handlers.BufferingHandler(10)
    handler = logging.handlers.QueueHandler(queue := _Direct(target))
    handler.addFilter(RedactingFilter())
    logger = logging.Logger("two", logging.DEBUG)
    logger.addHandler(handler)
    logger.info("stored %s", ACCESS)
    assert queue.records[0].getMessage() == "stored access-sandbox-…89ab"


class _Direct:
    """A queue that hands over at once."""

    def __init__(self, target: logging.Handler) -> None:
        self.records: list[logging.LogRecord] = []

    def put_nowait(self, record: logging.LogRecord) -> None:
        self.records.append(record)


_texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20)


@given(before=_texts, after=_texts)
def test_whatever_stands_around_a_token(before: str, after: str) -> None:
    """A token is masked in any text, and the percent signs of that text do no harm."""
    log = Log()
    log.logger.info(before.replace("%", "%%") + "%s" + after.replace("%", "%%"), ACCESS)
    assert ACCESS not in log.text
    log.logger.info(before + ACCESS + after)
    assert ACCESS not in log.text


def test_a_long_text_takes_no_long_time() -> None:
    """The time grows with the text, and not with its square."""
    log = Log()
    log.logger.info("a-" * 200_000 + ACCESS)
    assert "access-sandbox-…89ab" in log.text
    log.logger.info(ACCESS + " " + "a-" * 200_000)  # where no token ends the search
    assert ACCESS not in log.text


def test_a_link_that_stores_nothing_is_warned_of_once(faulty: FaultyPlaid) -> None:
    """Whoever forgets on_exchange reads it once in a process, without configuring logs."""
    code = f"""
from plaid_processors import PlaidClient, ProcessorLinker
keys = {KEYS!r}
with ProcessorLinker(PlaidClient(**keys, base_url={faulty.url!r})) as linker:
    wanted = dict(public_token={PUBLIC_TOKEN!r}, account_id="a-checking")
    if stored:
        wanted["on_exchange"] = lambda item: None
    for _ in range(3):
        linker.link("finix", **wanted)
"""
    for stored, times in ((True, 0), (False, 1)):
        done = subprocess.run(
            [sys.executable, "-c", f"stored = {stored}\n{code}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr.count("without on_exchange=") == times
        assert PUBLIC_TOKEN not in done.stderr
