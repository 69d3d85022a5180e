"""How fast the SDK is, beside the code that a user would write with plaid-python."""
