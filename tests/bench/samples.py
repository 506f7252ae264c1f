"""Canned results: what a run would have found."""

from tests.bench.load import Figures


def figures(iops: float, p99_us: float = 500.0) -> Figures:
    """A measurement of which only these matter."""
    return Figures(
        requests=1000,
        iops=iops,
        bytes_per_s=iops * 4096,
        p50_us=100.0,
        p99_us=p99_us,
        longest_us=9000.0,
        cpu_us=10.0,
    )
