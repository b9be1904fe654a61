"""What keeps the benchmarks from running."""


class BenchmarkError(Exception):
    """A benchmark cannot go on; says which and what to look at."""
