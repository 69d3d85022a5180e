"""The official clients, unmodified, through the whole workflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ..support.rows import rows

HERE = Path(__file__).parent
NODE = HERE / "node"
MODULES = NODE / "node_modules"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_plaid_python(sandbox):
    """The installed plaid-python reads every answer with its generated models."""
    script = str(HERE / "workflow_plaid_python.py")
    told = run(sys.executable, script, sandbox.url, sandbox.client_id, sandbox.secret)
    assert "calls" in told


@pytest.mark.node
@pytest.mark.skipif(not MODULES.exists(), reason=f"npm install was not run in {NODE}")
@rows("package", ["plaid9", "plaid26", "plaid47"])
def test_plaid_node(sandbox, package):
    """Each major of plaid-node runs the same workflow."""
    script = str(NODE / "workflow.js")
    told = run("node", script, package, sandbox.url, sandbox.client_id, sandbox.secret)
    assert told.startswith(f"{package}: ")
