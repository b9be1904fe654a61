"""Messages on their way to SQS."""
