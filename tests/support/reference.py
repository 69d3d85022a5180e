"""Where Plaid's description and documents are, which are not ours to publish."""

import os
from pathlib import Path

BESIDE = Path(__file__).parents[3] / "shared"
REFERENCE = Path(os.environ.get("PLAID_PROCESSORS_REFERENCE", BESIDE))
