"""examples/django_app: its own tests, in a process of their own, as Django is set up once in each.

On SQLite and on a real PostgreSQL, where `check_store` proves its store too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

ROOT = Path(__file__).parent.parent.parent
APP = ROOT / "examples" / "django_app"
both_databases = pytest.mark.parametrize(
    "database",
    ["sqlite", pytest.param("postgresql", marks=[pytest.mark.server, pytest.mark.full])],
)


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the root of the repository, without what this environment says of Plaid."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PLAID_", "LAYER_", "FINIX_", "DEMO_", "DJANGO_"))
        and name not in ("DATABASE_URL", "LINK_KEYS", "SESSION_SECRET", "APP_URL")
    }
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=clean | environ,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
@both_databases
def test_its_own_tests_pass(database: str, request: pytest.FixtureRequest) -> None:
    """Those that a team copies with it, by the pytest plugin; none is skipped."""
    environ = {}
    if database == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        environ["TEST_DATABASE_URL"] = url.replace("+psycopg", "")

    done = run("-m", "pytest", str(APP), "-n0", "-q", "-p", "no:cacheprovider", **environ)

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed in " in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.slow
def test_the_store_passes_the_test_of_every_store() -> None:
    """A part of the above that is quick."""
    done = run("-m", "pytest", str(APP), "-n0", "-q", "-k", "test_the_store")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Variables with which it starts, on a SQLite file of the test."""
    names = ("PLAID_CLIENT_ID", "PLAID_SECRET", "LAYER_CLIENT_ID", "LAYER_CLIENT_SECRET")
    return {
        "DATABASE_URL": f"sqlite:///{tmp_path}/banks.db",
        **dict.fromkeys((*names, "FINIX_USERNAME", "FINIX_PASSWORD"), "none"),
        **{f"{name}_ENV": "sandbox" for name in ("PLAID", "LAYER", "FINIX")},
    }


def test_keys_without_which_it_does_not_start(environ: dict[str, str]) -> None:
    """They are in the environment, or in the file that the local world writes."""
    manage = str(APP / "manage.py")
    for name in ("LINK_KEYS", "SESSION_SECRET"):
        done = run(manage, "check", **environ)
        assert done.returncode != 0
        assert done.stderr.endswith(f"KeyError: '{name}'\n")
        environ[name] = Fernet.generate_key().decode()

    done = run(manage, "check", **environ)
    assert (done.returncode, done.stderr) == (0, "")
