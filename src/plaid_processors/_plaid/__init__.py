"""How Plaid is spoken to: its requests, what its answers mean, what is sent again."""
