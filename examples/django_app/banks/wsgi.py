"""What a server starts: the application, and what tidies up after a kill."""

import os
from threading import Thread

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "banks.settings")
application = get_wsgi_application()  # the models can be imported now
from . import models, views  # noqa: E402

models.make_demo_users()
Thread(target=views.keep_tidy, daemon=True).start()
