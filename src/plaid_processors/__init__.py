"""From Link's public_token to the partner's processor_token."""
