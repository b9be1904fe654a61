"""Messages on their way from SQS."""
