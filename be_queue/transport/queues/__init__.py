"""Queues and their dead-letter queues: found, made, mended or verified."""
