"""The page about the local Plaid names all that there is."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from plaid_processors.sandbox import Fault
from plaid_processors.sandbox.calls import ENDPOINTS
from plaid_processors.sandbox.control import ACTIONS

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")


def test_every_endpoint_is_named():
    """An endpoint that is not on the page is not there for the reader."""
    assert [path for path in ENDPOINTS if f"`{path}`" not in PAGE] == []


def test_every_control_path_is_named():
    """So is a path of the control plane."""
    assert [path for _, path in ACTIONS if f"/_sandbox{path}" not in PAGE] == []


def test_every_field_of_a_fault_is_named():
    """And a field of a fault, but the path that it waits at."""
    names = [field.name for field in fields(Fault) if field.name != "path"]
    assert [name for name in names if f"`{name}`" not in PAGE] == []
