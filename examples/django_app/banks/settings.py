"""Django's settings, by the environment and the file .env of the working folder."""

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
from cryptography.fernet import Fernet
from dotenv import load_dotenv

load_dotenv(".env")
FOLDER = Path(__file__).parent.parent
APP_URL = os.environ.get("APP_URL") or "http://127.0.0.1:8000"
LINK_URL = (os.environ.get("PLAID_BASE_URL") or "").rstrip("/")
if urlsplit(LINK_URL).hostname not in ("127.0.0.1", "localhost"):  # a proxy does not serve Link
    LINK_URL = "https://cdn.plaid.com"

database = dj_database_url.parse(os.environ.get("DATABASE_URL") or f"sqlite:///{FOLDER}/banks.db")
if database["ENGINE"] == "django.db.backends.sqlite3":
    database["OPTIONS"] = {"timeout": 30, "transaction_mode": "IMMEDIATE"}  # a writer waits
    file = Path(f"{database['NAME']}.env")  # in production a secret manager has both keys
    file.touch(0o600)
    if file.stat().st_size == 0:
        link_key, session_secret = Fernet.generate_key().decode(), secrets.token_hex()
        file.write_text(f"LINK_KEYS={link_key}\nSESSION_SECRET={session_secret}\n")
    load_dotenv(file)
DATABASES = {"default": database}
LINK_KEYS = os.environ["LINK_KEYS"].split(",")
SECRET_KEY = os.environ["SESSION_SECRET"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = APP_URL.startswith("https:")
ALLOWED_HOSTS, CSRF_TRUSTED_ORIGINS = [urlsplit(APP_URL).hostname], [APP_URL]
DATA_UPLOAD_MAX_MEMORY_SIZE = 10**6
ROOT_URLCONF, WSGI_APPLICATION = "banks.views", "banks.wsgi.application"
AUTH_USER_MODEL, DEFAULT_AUTO_FIELD = "banks.User", "django.db.models.BigAutoField"
TIME_ZONE = "UTC"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
INSTALLED_APPS += ["banks"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DJANGO_TEMPLATES = "django.template.backends.django.DjangoTemplates"
TEMPLATES = [{"BACKEND": DJANGO_TEMPLATES, "DIRS": [FOLDER / "templates"]}]
