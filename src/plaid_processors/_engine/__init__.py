"""How requests are sent, to Plaid and to the partners alike: threads, time, connections."""
