"""Messages that nobody can run."""
