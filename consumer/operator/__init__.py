"""What an operator runs beside the daemon, which knows nothing of it."""
