"""`plaid-processors doctor` and `partners`, with each thing broken in turn."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plaid_processors import PartnerAdapter, get_adapter, partners
from plaid_processors.cli import main
from plaid_processors.cli.doctor import Finding, examine
from plaid_processors.sandbox import LocalSandbox

from .conftest import KEYS
from .support.rows import rows
from .support.tls import VARIABLES, TlsPlaid, Tunnel, make_certificate

BOTH = [get_adapter("layer"), get_adapter("finix")]


@pytest.fixture
def plaid() -> Iterator[LocalSandbox]:
    with LocalSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def environ(plaid: LocalSandbox) -> dict[str, str]:
    return {
        "PLAID_CLIENT_ID": plaid.client_id,
        "PLAID_SECRET": plaid.secret,
        "PLAID_BASE_URL": plaid.url,
    }


def wrong(findings: list[Finding]) -> list[str]:
    """What the doctor names."""
    return [each.check for each in findings if not each.good]


def test_nothing_is_wrong(plaid: LocalSandbox, environ: dict[str, str]) -> None:
    """A good set-up has every check done, and leaves no Item behind."""
    findings = list(examine(environ, BOTH))
    assert [each.good for each in findings] == [True] * len(findings)
    assert [each.check for each in findings] == [
        "the environment variables",
        "proxy",
        "Link's products for layer",
        "a Sandbox link and the integration with layer",
        "Link's products for finix",
        "a Sandbox link and the integration with finix",
    ]
    assert [each.removed for each in plaid.items] == [True, True]


ENVIRONMENT = "the environment variables"
KEYS_PAGE = "https://dashboard.plaid.com/developers/keys"

SETTINGS: dict[str, tuple[dict[str, str], str, str]] = {
    "no client id": ({"PLAID_CLIENT_ID": ""}, ENVIRONMENT, "PLAID_CLIENT_ID not set"),
    "no secret": ({"PLAID_SECRET": " "}, ENVIRONMENT, "PLAID_SECRET not set"),
    "a key in two lines": ({"PLAID_SECRET": "ab\ncd"}, ENVIRONMENT, KEYS_PAGE),
    "an environment that is gone": ({"PLAID_ENV": "development"}, ENVIRONMENT, "use 'sandbox'"),
    "an unknown environment": ({"PLAID_ENV": "live"}, ENVIRONMENT, "choose 'sandbox'"),
    "an address over http": (
        {"PLAID_BASE_URL": "http://plaid.example"},
        ENVIRONMENT,
        "must be an address such as https://sandbox.plaid.com",
    ),
    "an address of the other environment": (
        {"PLAID_BASE_URL": "https://production.plaid.com"},
        ENVIRONMENT,
        "leave one of them out",
    ),
    "nobody there": ({"PLAID_BASE_URL": "http://127.0.0.1:1"}, "the way to Plaid", "start it with"),
    "a wrong secret": ({"PLAID_SECRET": "5e" * 15}, "the keys at Plaid", KEYS_PAGE),
    "a wrong client id": ({"PLAID_CLIENT_ID": "0" * 24}, "the keys at Plaid", KEYS_PAGE),
    "names in place of keys": (
        {"PLAID_CLIENT_ID": "client_id", "PLAID_SECRET": "secret"},
        "the keys at Plaid",
        "client_id",
    ),
    "placeholders in place of keys": (
        {"PLAID_CLIENT_ID": "YOUR_CLIENT_ID", "PLAID_SECRET": "YOUR_SECRET"},
        "the keys at Plaid",
        KEYS_PAGE,
    ),
    "keys that are swapped": (
        {"PLAID_CLIENT_ID": "5e" * 15, "PLAID_SECRET": "0" * 24},
        ENVIRONMENT,
        "swapped",
    ),
    "a key in quotes": ({"PLAID_SECRET": f'"{"5e" * 15}"'}, ENVIRONMENT, "without quotes"),
    "a client id that is none": ({"PLAID_CLIENT_ID": "abc"}, "the keys at Plaid", KEYS_PAGE),
}


@rows(("broken", "named", "words"), SETTINGS.values(), ids=SETTINGS)
def test_a_setting_that_is_wrong(
    broken: dict[str, str], named: str, words: str, environ: dict[str, str]
) -> None:
    """The setting is named, with what to do, and nothing else is checked after it."""
    findings = list(examine({**environ, **broken}, BOTH))
    assert wrong(findings) == [named]
    assert findings[-1].check == named
    assert words in findings[-1].detail


FAULTS: dict[str, tuple[Callable[[LocalSandbox], None], str]] = {
    "an integration that is off": (
        lambda plaid: plaid.disable_partner("finix"),
        "a Sandbox link and the integration with finix",
    ),
    "products that Link may not use": (
        lambda plaid: plaid.fail("/link/token/create", error_code="INVALID_PRODUCT"),
        "Link's products for layer",
    ),
    "a bank that is down": (
        lambda plaid: plaid.fail(
            "/sandbox/public_token/create", error_code="INSTITUTION_DOWN", times=3
        ),
        "a Sandbox link and the integration with layer",
    ),
    "an exchange that is refused": (
        lambda plaid: plaid.fail("/item/public_token/exchange", error_code="INVALID_PUBLIC_TOKEN"),
        "a Sandbox link and the integration with layer",
    ),
    "accounts that cannot be had": (
        lambda plaid: plaid.fail("/accounts/get", error_code="ITEM_LOGIN_REQUIRED"),
        "a Sandbox link and the integration with layer",
    ),
    "a processor token that is refused": (
        lambda plaid: plaid.fail("/processor/token/create", error_code="ITEM_NOT_SUPPORTED"),
        "a Sandbox link and the integration with layer",
    ),
}


@rows(("break_it", "named"), FAULTS.values(), ids=FAULTS)
def test_a_thing_that_is_broken_at_plaid(
    break_it: Callable[[LocalSandbox], None],
    named: str,
    plaid: LocalSandbox,
    environ: dict[str, str],
) -> None:
    """The thing is named, and nothing else is; no Item that was exchanged is left behind."""
    plaid.reset()
    break_it(plaid)
    findings = list(examine(environ, BOTH))
    assert wrong(findings) == [named]
    assert [each for each in plaid.items if each.exchanged and not each.removed] == []


def test_a_clean_up_that_fails(plaid: LocalSandbox, environ: dict[str, str]) -> None:
    """An Item that could not be removed is named by its id."""
    plaid.fail("/item/remove", error_code="INTERNAL_SERVER_ERROR", times=3)
    (named,) = wrong(list(examine(environ, BOTH)))
    assert named == f"clean-up: Item {plaid.items[0].item_id} is left in the Sandbox"


def test_production_is_asked_for_link_tokens_only(
    plaid: LocalSandbox, environ: dict[str, str]
) -> None:
    """In production nothing is made that lasts or costs."""
    findings = list(examine({**environ, "PLAID_ENV": "production"}, BOTH))
    assert [each.path for each in plaid.requests] == ["/link/token/create"] * 2
    assert wrong(findings) == []


def test_any_partner(plaid: LocalSandbox, environ: dict[str, str]) -> None:
    """A partner of one's own, and one without a rule, are checked with any one account."""
    own = [PartnerAdapter(processor="brale", products=("auth",), as_given=True)]
    assert (
        wrong(list(examine(environ, [*own, get_adapter("dwolla"), get_adapter("ocrolus")]))) == []
    )
    assert wrong(list(examine(environ, [get_adapter("brale")]))) == ["Link's products for brale"]


class TestNetwork:
    """Which proxy and which certificates are in use, over TLS and through a proxy."""

    @pytest.fixture(autouse=True)
    def bare(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)

    @pytest.fixture
    def certificate(self, tmp_path: Path) -> Path:
        return make_certificate(tmp_path)

    @pytest.fixture
    def server(self, certificate: Path) -> Iterator[TlsPlaid]:
        with TlsPlaid(certificate) as server:
            yield server

    @pytest.fixture
    def environ(self, server: TlsPlaid) -> dict[str, str]:
        return {
            "PLAID_CLIENT_ID": KEYS["client_id"],
            "PLAID_SECRET": KEYS["secret"],
            "PLAID_BASE_URL": server.url,
        }

    def test_a_proxy_and_certificates_by_variables(
        self,
        certificate: Path,
        environ: dict[str, str],
        server: TlsPlaid,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Both are told with the variable that named them, the proxy without its user."""
        with Tunnel() as tunnel:
            environ["HTTPS_PROXY"] = tunnel.url.replace("//", "//shop:hunter2@")
            environ["SSL_CERT_FILE"] = str(certificate)
            for name, value in environ.items():
                monkeypatch.setenv(name, value)
            assert main(["doctor", "finix"]) == 0
            assert set(tunnel.users) == {"shop:hunter2"}
        shown = capsys.readouterr().out
        assert f"\n✓ proxy: {tunnel.url}, by HTTPS_PROXY\n" in shown
        assert f"\n✓ certificates: {certificate}, by SSL_CERT_FILE\n" in shown
        assert "hunter2" not in shown
        assert "shop" not in shown

    def test_none_and_the_systems(self, environ: dict[str, str]) -> None:
        """Without variables there is no proxy, and the system's certificates are used."""
        details = {each.check: each.detail for each in examine(environ, BOTH)}
        assert details["proxy"] == "none"
        assert details["certificates"] == "those of the system"

    def test_an_exception_to_the_proxy(
        self, certificate: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What NO_PROXY excepts uses no proxy; certificates may be named by two variables."""
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.parent))
        findings = list(examine(environ, BOTH))
        details = {each.check: each.detail for each in findings}
        assert wrong(findings) == []
        assert details["proxy"] == "none"
        assert details["certificates"] == (
            f"{certificate}, by SSL_CERT_FILE; {certificate.parent}, by REQUESTS_CA_BUNDLE"
        )

    @rows(
        ("name", "value"),
        [
            ("HTTPS_PROXY", "http://shop:hunter2@proxy.example:port"),
            ("all_proxy", "socks5://shop:hunter2@proxy.example:1080"),
            ("SSL_CERT_FILE", "/nowhere/hunter2.pem"),
            ("REQUESTS_CA_BUNDLE", __file__),
        ],
    )
    def test_a_wrong_variable(
        self,
        name: str,
        value: str,
        environ: dict[str, str],
        server: TlsPlaid,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The variable is named, its value is not shown, and nothing is asked."""
        monkeypatch.setenv(name, value)
        findings = list(examine(environ, BOTH))
        assert wrong(findings) == ["the environment variables"]
        assert findings[-1].detail.startswith(f"{name} ")
        assert "hunter2" not in repr(findings)
        assert server.connections == 0

    @rows("broken", ["proxy", "certificates"])
    def test_a_way_that_leads_nowhere(
        self, broken: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A proxy that is gone, and a server that is not trusted, are the way to Plaid's fault."""
        if broken == "proxy":
            monkeypatch.setenv("HTTPS_PROXY", "http://shop:hunter2@127.0.0.1:9")
        findings = list(examine(environ, BOTH))
        assert wrong(findings) == ["the way to Plaid"]
        assert ("proxy" if broken == "proxy" else "CERTIFICATE") in findings[-1].detail
        assert "hunter2" not in repr(findings)


def test_the_command_tells_each_check(
    plaid: LocalSandbox,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line for each check; what is wrong again in one line at the end, with status 1."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PLAID_ENV", raising=False)
    assert main(["doctor", "finix"]) == 0
    capsys.readouterr()
    plaid.disable_partner("finix")
    assert main(["doctor", "finix"]) == 1
    shown = capsys.readouterr()
    check = "a Sandbox link and the integration with finix"
    assert f"✗ {check}: INVALID_INPUT / INVALID_PRODUCT" in shown.out
    assert "https://dashboard.plaid.com/developers/integrations" in shown.out
    assert shown.err == f"plaid-processors: something is wrong: {check}\n"
    assert plaid.secret not in shown.out + shown.err
    assert not re.search(r"(access|public|processor)-sandbox-[0-9a-f]{8}", shown.out)


def test_the_command_refuses_a_near_miss(capsys: pytest.CaptureFixture[str]) -> None:
    """A partner's name is checked before anything is asked."""
    assert main(["doctor", "finx"]) == 2
    assert "did you mean 'finix'" in capsys.readouterr().err


# --- streams that are not UTF-8

ENCODINGS = {
    "utf-8": ("✓", "✗", "→", "…", "─"),
    "cp437": ("[ok]", "[failed]", "->", "...", "─"),  # a Windows console's
    "cp1252": ("[ok]", "[failed]", "->", "…", "-"),  # a pipe's on Windows
    "latin-1": ("[ok]", "[failed]", "->", "...", "-"),
    "ascii": ("[ok]", "[failed]", "->", "...", "-"),
}


def printed(command: str, encoding: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """The command's exit status, and what it prints on a stream of this encoding."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    status = main([command])
    text = ""
    for stream in streams.values():
        stream.flush()
        buffer = stream.detach()
        assert isinstance(buffer, io.BytesIO)
        text += buffer.getvalue().decode(encoding)
    return status, text


@rows(("encoding", "marks"), ENCODINGS.items(), ids=ENCODINGS)
def test_the_doctors_marks_can_be_read(
    encoding: str,
    marks: tuple[str, ...],
    plaid: LocalSandbox,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A check that is good and one that is not differ, whatever the stream can encode."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    plaid.disable_partner("finix")
    status, text = printed("doctor", encoding, monkeypatch)
    good, bad = marks[:2]
    assert status == 1
    assert f"{good} the environment variables: " in text
    assert f"{good} a Sandbox link and the integration with layer: " in text
    assert f"{bad} a Sandbox link and the integration with finix: " in text
    assert "?" not in text


@pytest.mark.slow
@rows(("encoding", "marks"), ENCODINGS.items(), ids=ENCODINGS)
def test_the_demo_can_be_read(
    encoding: str, marks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its signs has one in ASCII, and its columns stay."""
    status, text = printed("demo", encoding, monkeypatch)
    _, bad, arrow, dots, rule = marks
    assert status == 0
    assert "?" not in text
    assert f"     {bad} AccountSelectionError: " in text
    assert re.search(rf"^     {arrow} /link/token/create ", text, re.MULTILINE)
    assert f'create_link_token("layer", {dots})\n' in text
    (width,) = {len(line) for line in text.splitlines() if line and not line.strip(rule)}
    steps = [line for line in text.splitlines() if re.match(r"  \d\. ", line)]
    assert len(steps) > 6
    assert {len(line) for line in steps} == {width}


def test_a_locale_without_an_encoding() -> None:
    """As in cron: what Python takes for it, the doctor can write to."""
    done = subprocess.run(
        [sys.executable, "-m", "plaid_processors", "doctor"],
        env={"PATH": "", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.startswith(b"[failed] the environment variables: "), done


# --- the catalogue


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The partners that the command lists."""
    assert main(["partners", *arguments]) == 0
    *lines, count = capsys.readouterr().out.splitlines()
    assert count == f"{len(lines)} partners"
    return [line.split()[0] for line in lines]


def test_all_partners_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a filter, every partner has a line."""
    assert listed(capsys) == [each.processor for each in partners()]


@rows(
    ("filters", "there", "not_there"),
    [
        (["--accounts", "one"], "finix", "layer"),
        (["--accounts", "all"], "layer", "finix"),
        (["--accounts", "given"], "brale", "layer"),
        (["--product", "transactions"], "boom", "finix"),
        (["--subtype", "credit card"], "layer", "finix"),
        (["--accounts", "all", "--product", "auth"], "marqeta", "layer"),
    ],
)
def test_filters(
    filters: list[str], there: str, not_there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each filter leaves what fits it."""
    shown = listed(capsys, *filters)
    assert there in shown
    assert not_there not in shown


@rows("partner", partners(), ids=lambda each: each.processor)
def test_one_partner_with_its_source(partner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Its rule stands beside the page that says it, or a dash without one."""
    assert main(["partners", partner.processor]) == 0
    shown = capsys.readouterr().out
    fields = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert fields["rule"] == partner.adapter.rule
    assert fields["source"] == (partner.source or "-")


def test_the_catalogue_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads it."""
    assert main(["partners", "--json"]) == 0
    rows = {row["processor"]: row for row in json.loads(capsys.readouterr().out)}
    assert len(rows) == len(partners())
    assert rows["dwolla"]["token_seconds"] == 3600
    assert rows["stripe"]["single_use"] is True


def test_a_partner_that_nobody_knows(capsys: pytest.CaptureFixture[str]) -> None:
    """The name that was meant is told."""
    assert main(["partners", "sbv_api"]) == 2
    assert "did you mean 'svb_api'" in capsys.readouterr().err
