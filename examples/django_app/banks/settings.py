"""Django's settings, by the environment and the file .env of the working folder."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import urlsplit

import dj_database_url
from cryptography.fernet import Fernet
from dotenv import load_dotenv

load_dotenv(".env")
plaid_env = os.environ.get("PLAID_ENV") or "sandbox"
if plaid_env != "sandbox" and os.environ.get("DEMO_LAYER_BUSINESSES"):
    sys.exit("Take DEMO_… out: its users' passwords are their names.")

FOLDER = Path(__file__).parent.parent
APP_URL = os.environ.get("APP_URL") or "http://127.0.0.1:8000"
# Link's script is Plaid's own, and the local Plaid's in development.
plaid_url = os.environ.get("PLAID_BASE_URL") or ""
is_local = urlsplit(plaid_url).hostname in ("127.0.0.1", "localhost")
LINK_URL = plaid_url.rstrip("/") if is_local else "https://cdn.plaid.com"

database_url = os.environ.get("DATABASE_URL") or f"sqlite:///{FOLDER}/banks.db"
database = dict(dj_database_url.parse(database_url))
if database_url.startswith("sqlite:"):
    database["OPTIONS"] = {"timeout": 30, "transaction_mode": "IMMEDIATE"}  # a writer waits
    key_file = Path(f"{database['NAME']}.env")
    if not key_file.exists():  # another process may make it too: the first one counts
        with NamedTemporaryFile("w", dir=key_file.parent) as new, suppress(FileExistsError):
            for name in ("LINK_KEYS", "SESSION_SECRET"):
                new.write(f"{name}={Fernet.generate_key().decode()}\n")
            new.flush()
            os.link(new.name, key_file)  # never without its contents, and its owner's alone
    load_dotenv(key_file)
for name in ("LINK_KEYS", "SESSION_SECRET"):
    if not os.environ.get(name):
        sys.exit(f"{name} is not set: README.md, under Keys, says where it comes from.")

DATABASES = {"default": database}
LINK_KEYS = os.environ["LINK_KEYS"].split(",")  # the newest first
SECRET_KEY = os.environ["SESSION_SECRET"]
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000  # Django refuses a larger body, by its Content-Length
ALLOWED_HOSTS = [urlsplit(APP_URL).hostname]
CSRF_TRUSTED_ORIGINS = [APP_URL]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = APP_URL.startswith("https:")
ROOT_URLCONF = "banks.views"
WSGI_APPLICATION = "banks.wsgi.application"
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "banks",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DJANGO_TEMPLATES = "django.template.backends.django.DjangoTemplates"
TEMPLATES = [{"BACKEND": DJANGO_TEMPLATES, "DIRS": [FOLDER / "templates"]}]
