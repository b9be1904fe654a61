"""Messages that a worker has: hidden from others until they are deleted or handed back."""
