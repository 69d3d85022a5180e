"""Django's settings, by the environment and the file .env of the working folder."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
from cryptography.fernet import Fernet
from dotenv import load_dotenv

load_dotenv(".env")
FOLDER = Path(__file__).parent.parent
APP_URL = os.environ.get("APP_URL") or "http://127.0.0.1:8000"
PLAID_URL = os.environ.get("PLAID_BASE_URL") or "https://cdn.plaid.com"  # where Link's script is

database_url = os.environ.get("DATABASE_URL") or f"sqlite:///{FOLDER}/banks.db"
database = dict(dj_database_url.parse(database_url))
if database_url.startswith("sqlite:"):
    database["OPTIONS"] = {"timeout": 30, "transaction_mode": "IMMEDIATE"}  # a writer waits
    file = Path(f"{database['NAME']}.env")  # in production a secret manager sets these two
    if not file.exists():
        file.touch(0o600)
        new = {each: Fernet.generate_key().decode() for each in ("LINK_KEYS", "SESSION_SECRET")}
        file.write_text("\n".join(f"{name}={value}" for name, value in new.items()))
    load_dotenv(file)

DATABASES = {"default": database}
LINK_KEYS = os.environ["LINK_KEYS"].split(",")  # the newest first
SECRET_KEY = os.environ["SESSION_SECRET"]
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
