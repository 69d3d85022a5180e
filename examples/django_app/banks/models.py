"""The application's tables; those of its links are in store.py."""

import os

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AbstractUser
from django.db import models

from .store import LeaseRow, LinkRow  # noqa: F401  Django looks here for tables


class User(AbstractUser):
    """A user; your sign-up makes both ids at the partners."""

    business_id = models.TextField()  # Layer's
    identity = models.TextField()  # Finix's


class Step(models.Model):
    """What happened, for the page; the newest with a health says how the Item is."""

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    at = models.DateTimeField(auto_now_add=True)
    text = models.TextField()
    item_id = models.TextField(null=True)
    health = models.TextField(null=True)


def make_demo_users() -> None:
    """Make two users whose passwords are their names, in a local world alone."""
    if "DEMO_LAYER_BUSINESSES" in os.environ and os.environ.get("PLAID_ENV") == "sandbox":
        businesses = os.environ["DEMO_LAYER_BUSINESSES"].split(",")
        identities = os.environ["DEMO_FINIX_IDENTITIES"].split(",")
        for name, business, identity in zip(("ada", "grace"), businesses, identities, strict=True):
            ids = {"business_id": business, "identity": identity}
            new = {**ids, "password": make_password(name)}
            User.objects.update_or_create(username=name, defaults=ids, create_defaults=new)
