"""The pytest plugin, as a user's tests meet it, in a pytest run of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

# Loaded before the runs inside this process, which would load it again: SQLAlchemy warns of that.
import plaid_processors.sandbox.pytest_kit
import plaid_processors.store.database  # noqa: F401

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent

LINK = """
def link(linker, sandbox, masks=("0000",)):
    token = linker.create_link_token("finix", client_user_id="u", client_name="Acme")
    done = sandbox.complete_link(token.link_token, masks=list(masks))
    return linker.link("finix", public_token=done.public_token, metadata=done.metadata)
"""


def run(pytester: pytest.Pytester, code: str, *options: str) -> pytest.RunResult:
    """A user's test file, run by a pytest of its own."""
    pytester.makepyfile(test_it=LINK + code)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)


def test_each_test_begins_with_a_new_plaid(pytester: pytest.Pytester) -> None:
    """One server for the run, and nothing of the test before in it."""
    done = run(
        pytester,
        """
urls = []

def test_one(plaid_sandbox, processor_linker):
    link(processor_linker, plaid_sandbox)
    urls.append(plaid_sandbox.url)
    assert len(plaid_sandbox.items) == 1

def test_two(plaid_sandbox):
    assert (plaid_sandbox.url, plaid_sandbox.items, plaid_sandbox.requests) == (urls[0], (), ())
""",
    )
    done.assert_outcomes(passed=2)


def test_the_async_linker_needs_no_plugin_for_asyncio(pytester: pytest.Pytester) -> None:
    """It is made outside of any loop and works inside one."""
    done = run(
        pytester,
        """
import asyncio

def test_it(async_processor_linker):
    result = asyncio.run(async_processor_linker.link_sandbox("layer"))
    assert len(result.processor_tokens) == 14
""",
    )
    done.assert_outcomes(passed=1)


def test_the_options_of_the_clients_can_be_overridden(pytester: pytest.Pytester) -> None:
    """A fixture of the user's own sets how often a linker asks."""
    done = run(
        pytester,
        """
import pytest
from plaid_processors import PlaidUnavailableError

@pytest.fixture
def plaid_client_options():
    return {"max_attempts": 1}

@pytest.mark.plaid_fault("/link/token/create", error_code="INTERNAL_SERVER_ERROR")
def test_it(plaid_sandbox, processor_linker):
    with pytest.raises(PlaidUnavailableError):
        processor_linker.create_link_token("layer", client_user_id="u", client_name="Acme")
    assert len(plaid_sandbox.requests) == 1
""",
    )
    done.assert_outcomes(passed=1)


def test_a_linker_with_a_store(pytester: pytest.Pytester) -> None:
    """A test that takes `plaid_store`, itself or by another fixture, has linkers that use it."""
    done = run(
        pytester,
        """
import asyncio
import pytest

def test_it(plaid_store, processor_linker, async_processor_linker):
    assert processor_linker.store is async_processor_linker.store is plaid_store
    result = processor_linker.link_sandbox("finix", client_user_id="user-42")
    assert plaid_store.find(result.item_id).result == result
    status = asyncio.run(async_processor_linker.status(item_id=result.item_id))
    assert status.healthy

def test_another_begins_with_an_empty_one(processor_linker, plaid_store):
    assert processor_linker.store is plaid_store
    assert list(plaid_store.links()) == []

@pytest.fixture
def application(plaid_store):
    return plaid_store

def test_by_another_fixture(processor_linker, application):
    assert processor_linker.store is application

def test_without(processor_linker, async_processor_linker):
    assert processor_linker.store is async_processor_linker.store is None
""",
    )
    done.assert_outcomes(passed=4)


def test_a_store_of_the_users_own(pytester: pytest.Pytester) -> None:
    """The fixture is overridden, for every test if that is wanted."""
    done = run(
        pytester,
        """
import pytest
from cryptography.fernet import Fernet
from plaid_processors.store import SqlStore

@pytest.fixture(autouse=True)
def plaid_store(tmp_path):
    with SqlStore(f"sqlite:///{tmp_path}/links.db", keys=[Fernet.generate_key()]) as store:
        store.create_tables()
        yield store

def test_it(processor_linker):
    result = processor_linker.link_sandbox("finix", client_user_id="user-42")
    assert processor_linker.store.find(result.item_id).state == "complete"
""",
    )
    done.assert_outcomes(passed=1)


def test_the_marker_lays_faults_in_its_order(pytester: pytest.Pytester) -> None:
    """Of two markers the upper one strikes first."""
    done = run(
        pytester,
        """
import pytest

@pytest.mark.plaid_fault("/accounts/get", status=502)
@pytest.mark.plaid_fault("/accounts/get", status=503)
def test_it(plaid_sandbox, processor_linker):
    processor_linker.link_sandbox("layer")
    got = [each.status for each in plaid_sandbox.requests if each.path == "/accounts/get"]
    assert got == [502, 503, 200]
""",
    )
    done.assert_outcomes(passed=1)


def test_a_fault_that_does_not_strike_fails_the_test(pytester: pytest.Pytester) -> None:
    """The message has what was expected and what was asked."""
    done = run(
        pytester,
        """
import pytest

@pytest.mark.plaid_fault("/processor/token/create", error_code="INVALID_PRODUCT")
def test_it(processor_linker):
    processor_linker.create_link_token("layer", client_user_id="u", client_name="Acme")
""",
    )
    done.assert_outcomes(passed=1, errors=1)
    page = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
    shown = re.search(r"```text\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    done.stdout.fnmatch_lines([re.sub(r"([][])", r"[\1]", line) for line in shown[1].splitlines()])


def test_a_fault_that_strikes_too_seldom_fails_the_test(pytester: pytest.Pytester) -> None:
    """Three were expected, one came."""
    done = run(
        pytester,
        """
def test_it(plaid_sandbox, processor_linker):
    plaid_sandbox.fail("/link/token/create", status=503, times=3)
    plaid_sandbox.fail("/item/remove", delay=0.01, times=None)
    try:
        processor_linker.create_link_token("layer", client_user_id="u", client_name="Acme")
    except Exception:
        pass
    plaid_sandbox.fail("/accounts/get", status=503, times=2, skip=1)
    processor_linker.link_sandbox("layer")
""",
    )
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(
        [
            "the fault on /item/remove (times=None, delay=0.01) struck 0 times",
            "the fault on /accounts/get (times=2, skip=1, status=503) struck 0 times",
            "  1. POST /link/token/create → 503 (by a fault)",
        ]
    )
    assert "the fault on /link/token/create" not in done.stdout.str()


def test_a_request_for_what_plaid_does_not_have_fails_the_test(pytester: pytest.Pytester) -> None:
    """A slip in a path is named."""
    done = run(
        pytester,
        """
import json, urllib.error, urllib.request
import pytest

@pytest.fixture
def ask(plaid_sandbox):
    request = urllib.request.Request(plaid_sandbox.url + "/item/removed", b"{}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    refused.value.close()

def test_it(ask):
    pass

def test_it_is_told_to_bear_it(ask, plaid_sandbox):
    plaid_sandbox.strict = False

def test_it_is_strict_again(ask):
    pass
""",
    )
    done.assert_outcomes(passed=3, errors=2)
    done.stdout.fnmatch_lines(["Plaid has no endpoint /item/removed"])


def test_a_marker_without_the_sandbox_is_refused(pytester: pytest.Pytester) -> None:
    """A fault that nothing can strike is a slip."""
    done = run(
        pytester,
        """
import pytest

@pytest.mark.plaid_fault("/item/remove", status=500)
def test_it():
    pass
""",
    )
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*about the fixture plaid_sandbox, which this test does not use*"])


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ("'/item/removed', status=500", "*no endpoint /item/removed; there are: */item/remove*"),
        ("'/item/remove', code='X'", "*unexpected keyword argument 'code'*"),
    ],
)
def test_a_wrong_marker_is_refused(pytester: pytest.Pytester, marker: str, words: str) -> None:
    """A slip in the marker is told before the test runs."""
    code = f"""
import pytest

@pytest.mark.plaid_fault({marker})
def test_it(plaid_sandbox):
    pass
"""
    done = run(pytester, code)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines([words])


def test_the_marker_is_registered(pytester: pytest.Pytester) -> None:
    """Strict markers know it, and `--markers` tells of it."""
    done = run(pytester, "", "--strict-markers", "--markers")
    done.stdout.fnmatch_lines(["@pytest.mark.plaid_fault(path='[*]', [*][*]fault): *"])


def test_it_can_be_switched_off(pytester: pytest.Pytester) -> None:
    """`-p no:plaid_processors` takes the fixtures away."""
    done = run(pytester, "def test_it(plaid_sandbox): pass", "-p", "no:plaid_processors")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*fixture 'plaid_sandbox' not found*"])


@pytest.mark.slow
def test_without_the_extra(pytester: pytest.Pytester) -> None:
    """A missing extra is told with the command that installs it."""
    pytester.makeconftest("import sys; sys.modules['starlette'] = None")
    pytester.makepyfile("def test_it(plaid_sandbox): pass")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(['*needs starlette*: pip install "plaid-processors[[]sandbox[]]"'])
    done.stdout.no_fnmatch_line("*During handling*")


@pytest.mark.slow
def test_a_store_without_its_extra(pytester: pytest.Pytester) -> None:
    """The extra of the store is named by its line."""
    pytester.makeconftest("import sys; sys.modules['cryptography'] = None")
    pytester.makepyfile("def test_it(plaid_store): pass")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(['*needs cryptography*: pip install "plaid-processors[[]store[]]"'])
    done.stdout.no_fnmatch_line("*During handling*")


def test_unused_it_loads_neither_the_local_plaid_nor_the_vendors_client() -> None:
    """What is slow to import, or needs the extra, comes in when a test first takes a fixture."""
    code = (
        "import sys; import plaid_processors.pytest_plugin; import plaid_processors.testing; "
        "heavy = {'plaid', 'starlette', 'uvicorn', 'jwt', 'playwright', "
        "'cryptography', 'sqlalchemy', 'plaid_processors.sandbox'}; "
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.slow
@pytest.mark.parametrize(("app", "tests", "count"), [("shop", "test_shop", 4),
                                                     ("views", "test_views", 2)])  # fmt: skip
def test_the_applications_of_the_docs(
    pytester: pytest.Pytester, app: str, tests: str, count: int
) -> None:
    """The FastAPI and the Django application of the page, and their tests, run as they stand."""
    page = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(# (\w+)\.py\n.*?)```", page, re.DOTALL)
    code = {name: block for block, name in blocks}
    pytester.makepyfile(**{app: code[app], tests: code[tests]})
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=count)


@pytest.mark.slow
def test_the_first_tests_of_the_docs(pytester: pytest.Pytester) -> None:
    """What the page shows before the applications runs as it stands."""
    page = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n((?!#).*?)```", page, re.DOTALL)[:4]
    pytester.makepyfile("\n".join(blocks[::-1]))
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=5)


@pytest.mark.slow
def test_the_partners_are_new_for_each_test(pytester: pytest.Pytester) -> None:
    """They read at the test's local Plaid, and have nothing of the test before."""
    done = run(
        pytester,
        """
import pytest
from plaid_processors.handoff import FinixSender, LayerSender

identities = set()

@pytest.mark.parametrize("time", [1, 2])
def test_it(plaid_sandbox, processor_linker, local_layer, local_finix, time):
    assert local_finix.instruments == local_layer.requests == ()
    finix = FinixSender(
        username=local_finix.username, password=local_finix.password, base_url=local_finix.url
    )
    layer = LayerSender(
        client_id=local_layer.client_id, client_secret=local_layer.client_secret,
        base_url=local_layer.url, auth_url=local_layer.url,
    )
    business, identity = local_layer.new_business(), local_finix.new_identity()
    identities.add(identity)
    with finix, layer:
        token = link(processor_linker, plaid_sandbox).token("finix")
        finix.hand_over(token, identity=identity)
        layer.hand_over(processor_linker.link_sandbox("layer"), business_id=business)
    assert len(local_finix.instruments) == 1
    assert len(local_layer.books(business)) == 14
    assert len(identities) == time  # an outcome left unknown in a test holds no other one up
""",
    )
    done.assert_outcomes(passed=2)


def test_a_token_that_pytest_cuts_is_masked_too(pytester: pytest.Pytester) -> None:
    """With `-l` it shows what a test's variables are, shortened, wherever the cut is."""
    done = run(
        pytester,
        """
import pytest

TOKEN = "access-sandbox-b31b87ff-0968-4c1c-affe-2c9bd667f792"

@pytest.mark.parametrize("more", range(0, 60, 2))
def test_it(more):
    row = {"note": "x" * 150, "access_token": TOKEN, "user": "u" * (10 + more), "state": "linked"}
    assert 0
""",
        "-l",
    )
    text = done.stdout.str()
    assert "test_it" in text
    shown = [line for line in text.splitlines() if line.startswith("row ")]
    assert len(shown) == 30
    assert not [line for line in shown if "2c9bd667f792" in line]


def test_a_masked_report_is_summed_up_in_its_error(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In CI, pytest's summary does not cut: of a report that was made text it has all again."""
    monkeypatch.setenv("CI", "true")
    done = run(
        pytester,
        """
def test_it(processor_linker):
    token = "access-sandbox-b31b87ff-0968-4c1c-affe-2c9bd667f792"
    try:
        raise LookupError(token)
    except LookupError as error:
        raise ValueError(f"no {token}") from error
""",
        "-l",
    )
    text = done.stdout.str()
    assert "2c9bd667f792" not in text
    summary = text.partition("short test summary info")[2].splitlines()[1:]
    assert summary[0].endswith("test_it - ValueError: no access-sandbox-…f792")
    assert "1 failed" in summary[1]
    assert "raise LookupError(token)" in text


def test_reasons_and_modules_show_no_token(pytester: pytest.Pytester) -> None:
    """Why a test was to fail, and what a module's import raises."""
    token = "access-sandbox-b31b87ff-0968-4c1c-affe-2c9bd667f792"
    pytester.makepyfile(test_broken=f"raise ValueError({token!r})")
    done = run(
        pytester,
        f"""
import pytest

def test_expected():
    pytest.xfail("known: {token}")

@pytest.mark.xfail(reason="known: {token}")
def test_marked():
    assert 0
""",
        "-rx",
        "--continue-on-collection-errors",
    )
    text = done.stdout.str()
    assert text.count("known: access-sandbox-…f792") == 2
    assert "ValueError: access-sandbox-…f792" in text
    assert "2c9bd667f792" not in text


def test_the_report_of_another_plugin_is_masked_in_its_text(pytester: pytest.Pytester) -> None:
    """What it holds is its own: a live object in it stays as it is."""
    pytester.makeconftest(
        """
from dataclasses import dataclass
import pytest

@dataclass
class Spec:
    token: str
    itself: object = None
    def __str__(self):
        return f"it failed with {self.token}"

LIVE = Spec("access-sandbox-b31b87ff-0968-4c1c-affe-2c9bd667f792")
LIVE.itself = LIVE

class Item(pytest.Item):
    def runtest(self):
        print("it ends in", LIVE.token[-4:], len(LIVE.token))
        raise ValueError
    def repr_failure(self, excinfo):
        return LIVE

class File(pytest.File):
    def collect(self):
        return [Item.from_parent(self, name=name) for name in ("one", "two")]

def pytest_collect_file(parent, file_path):
    if file_path.suffix == ".spec":
        return File.from_parent(parent, path=file_path)
"""
    )
    pytester.makefile(".spec", a="")
    done = run(pytester, "", "-rA", "a.spec")
    text = done.stdout.str()
    assert text.count("it failed with access-sandbox-…f792") >= 2
    assert text.count("it ends in f792 51") == 2
    assert "2c9bd667f792" not in text


def test_reports_show_no_token(pytester: pytest.Pytester) -> None:
    """Whatever an assert compares, locals, captured output and the summary: tokens are masked."""
    done = run(
        pytester,
        """
import pytest

def results(linker, sandbox):
    return link(linker, sandbox), link(linker, sandbox)

@pytest.mark.parametrize("see", [
    lambda a, b: (a, b),
    lambda a, b: ([a], [b]),
    lambda a, b: ({"result": a}, {"result": b}),
    lambda a, b: (a.access_token, b.access_token),
    lambda a, b: (a.to_dict(), b.to_dict()),
    lambda a, b: ("token " + a.token("finix").processor_token, "token"),
    lambda a, b: (a.token("finix"), b.token("finix")),
])
def test_it(plaid_sandbox, processor_linker, see):
    left, right = see(*results(processor_linker, plaid_sandbox))
    print(left, right)
    assert left == right

def test_in(plaid_sandbox, processor_linker):
    left, right = results(processor_linker, plaid_sandbox)
    assert left.access_token in [right.access_token], left.access_token

def test_raised(plaid_sandbox, processor_linker):
    left, right = results(processor_linker, plaid_sandbox)
    raise RuntimeError(left.access_token)

def test_all_is_well(plaid_sandbox, processor_linker):
    print(link(processor_linker, plaid_sandbox).access_token)
""",
        "-vv",
        "--showlocals",
        "-rA",
        "--junitxml=report.xml",
    )
    done.assert_outcomes(failed=9, passed=1)
    shown = done.stdout.str() + (pytester.path / "report.xml").read_text()
    assert "access-sandbox-…" in shown
    assert not re.findall(r"(?:access|processor)-sandbox-[0-9a-f]", shown)


def test_a_path_or_a_reason_that_looks_like_a_token_breaks_no_run(
    pytester: pytest.Pytester,
) -> None:
    """The report of a test that was skipped is a tuple, and stays one."""
    folder = pytester.mkdir("my-sandbox-demo")
    token = "access-sandbox-5e171e1a-aaaa-4bbb-8ccc-0123456789ab"
    (folder / "test_here.py").write_text(
        "import pytest\n"
        "@pytest.mark.skip(reason='my-production-db')\ndef test_a(): pass\n"
        f"@pytest.mark.skip(reason='{token}')\ndef test_b(): pass\n"
        "@pytest.mark.xfail(reason='later')\ndef test_c(): assert 0\n"
    )
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-v", "-rA", str(folder))
    done.assert_outcomes(skipped=2, xfailed=1)
    shown = done.stdout.str()
    assert "my-sandbox-demo" in shown
    assert "my-production-db" in shown
    assert token not in shown
