"""``python -m tests.bench``: the data path beside nbdkit's C plugin and qemu-storage-daemon."""
