"""Sessions for those who use nox. Each calls what .ci/run calls: the scripts are the truth."""

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True

PYTHONS = nox.project.python_versions(nox.project.load_toml())


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests that need Python alone: `nox -s tests-3.12 -- tests/test_flow.py`."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Lint, format, imports that are declared, types."""
    _install(session, "lint")
    session.run(".ci/lint", external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site, with warnings as errors; `nox -s docs -- serve` shows it."""
    _install(session, "docs")
    session.run("mkdocs", *(session.posargs or ("build", "--strict")))
    if not session.posargs:
        session.run("python", "-m", "tests.support.site", "site")


@nox.session
def dist(session: nox.Session) -> None:
    """The wheel and the sdist, built into a new folder (dist) and checked."""
    _install(session, "release")
    session.run(".ci/dist", *(session.posargs or ["dist"]), external=True)


@nox.session(python=False)
def run(session: nox.Session) -> None:
    """All of .ci/run."""
    session.run(".ci/run", external=True)


@nox.session(python=False)
def full(session: nox.Session) -> None:
    """All of .ci/full, which takes hours."""
    session.run(".ci/full", external=True)


def _install(session: nox.Session, group: str) -> None:
    session.install("--upgrade", "pip>=25.1")  # for --group
    session.install("-e", ".[test]", "--group", group)
