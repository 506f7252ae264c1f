"""blkrun: block devices as a text file, served over NBD from a live graph."""

__version__ = "0.1.0"
