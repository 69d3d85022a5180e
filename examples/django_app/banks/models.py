"""The application's tables, and those of its store."""

import os

from django.contrib.auth.models import User
from django.db import models

from .store import LeaseRow as LeaseRow
from .store import LinkRow as LinkRow


class Profile(models.Model):
    """A user's ids at the partners: your sign-up makes both there, and keeps them here."""

    user = models.OneToOneField(User, on_delete=models.CASCADE)
    business_id = models.TextField()  # Layer's
    identity = models.TextField()  # Finix's


class Step(models.Model):
    """What happened, in plain words and without tokens, for the page to show."""

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    at = models.DateTimeField(auto_now_add=True)
    text = models.TextField()
    item_id = models.TextField(null=True, db_index=True)
    health = models.TextField(null=True)  # as it was seen then


def make_demo_users() -> None:
    """Users of a local world. Your sign-up makes both ids at the partners, and keeps them."""
    if os.environ.get("DEMO_LAYER_BUSINESSES"):
        businesses = os.environ["DEMO_LAYER_BUSINESSES"].split(",")
        identities = os.environ["DEMO_FINIX_IDENTITIES"].split(",")
        for name, business, identity in zip(("ada", "grace"), businesses, identities, strict=True):
            user = User.objects.filter(username=name).first()
            user = user or User.objects.create_user(name, password=name)  # Django hashes it
            ids = {"business_id": business, "identity": identity}
            Profile.objects.update_or_create(user=user, defaults=ids)
