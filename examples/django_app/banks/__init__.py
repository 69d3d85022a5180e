"""An application whose users connect their banks, for Layer and for Finix."""
