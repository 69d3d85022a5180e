"""The partners: each one's rules, and how a partner is found by name."""
