"""Plaid's webhooks: their signature, and what they ask for."""
