"""``python -m plaid_processors``: the command line."""

import sys

from .cli import main

sys.exit(main())
