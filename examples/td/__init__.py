"""A producer of event logs for Treasure Data."""
