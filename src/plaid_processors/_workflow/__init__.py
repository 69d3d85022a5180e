"""What happens in a link, in order. No network here: requests are sent by the `Call` they get."""
