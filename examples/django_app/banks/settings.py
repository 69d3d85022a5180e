"""Django's settings, by the environment and the file .env of the working folder."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
from dotenv import load_dotenv

load_dotenv(".env")
FOLDER = Path(__file__).parent.parent
APP_URL = os.environ.get("APP_URL") or "http://127.0.0.1:8000"
database = dj_database_url.parse(os.environ.get("DATABASE_URL") or f"sqlite:///{FOLDER}/banks.db")
if database["ENGINE"] == "django.db.backends.sqlite3":
    database["OPTIONS"] = {"timeout": 30, "transaction_mode": "IMMEDIATE"}  # a writer waits
DATABASES = {"default": database}
LINK_KEYS, SECRET_KEY = os.environ["LINK_KEYS"].split(","), os.environ["SESSION_SECRET"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = APP_URL.startswith("https:")
ALLOWED_HOSTS, CSRF_TRUSTED_ORIGINS = [urlsplit(APP_URL).hostname], [APP_URL]
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin-allow-popups"  # an OAuth bank opens a window
DATA_UPLOAD_MAX_MEMORY_SIZE = 10**6
ROOT_URLCONF, WSGI_APPLICATION = "banks.views", "banks.wsgi.application"
AUTH_USER_MODEL, DEFAULT_AUTO_FIELD = "banks.User", "django.db.models.BigAutoField"
TIME_ZONE = "UTC"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
INSTALLED_APPS += ["banks"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DJANGO_TEMPLATES = "django.template.backends.django.DjangoTemplates"
TEMPLATES = [{"BACKEND": DJANGO_TEMPLATES, "DIRS": [FOLDER / "templates"]}]
