"""Asking SQS: with which login, and what its answers mean."""
