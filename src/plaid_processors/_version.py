"""The version, and how this package names itself to servers."""

import platform

__version__ = "0.1.0"

USER_AGENT = (
    f"plaid-processors/{__version__} Python/{platform.python_version()} {platform.system()}"
)
