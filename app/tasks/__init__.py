"""Your tasks: the worker imports every module of this folder."""
