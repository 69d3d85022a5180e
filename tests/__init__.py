"""The tests. A package, since plaid-python 9 installs one of this name too."""
