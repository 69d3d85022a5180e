"""Django's command: `python manage.py migrate`, then `python manage.py runserver`."""

import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "banks.settings")
execute_from_command_line(sys.argv)
