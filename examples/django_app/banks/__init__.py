"""An application whose users connect their banks, for Layer and for Finix."""

import os

import django

from plaid_processors import ProcessorLinker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "banks.settings")


def make_linker() -> ProcessorLinker:
    """The linker for cron: `plaid-processors recover --linker banks:make_linker`."""
    django.setup()
    from .views import linker  # now that its models can be imported

    return linker
