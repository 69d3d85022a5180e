"""What a server loads: the application, and what tidies up after a kill."""

from threading import Thread

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()  # the models can be imported now
from .models import make_demo_users  # noqa: E402
from .views import keep_tidy  # noqa: E402

make_demo_users()
Thread(target=keep_tidy, daemon=True).start()
