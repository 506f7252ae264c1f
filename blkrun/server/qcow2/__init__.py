"""QEMU's image format qcow2, over any node.

The specification is QEMU's ``docs/interop/qcow2``; what is checked beyond it, and the sizes up to
which tables are taken, are QEMU's.  ``blkrun.server.drivers.qcow2`` is the driver made of this::

    header, geometry, entries       what the bytes mean: pure
    store                           the child as the file of an image: it ends, and it grows
    tables, reuse                   what reads and writes share, and how reads do without a lock
    reading, compressed             guest data
    snapshots, bitmaps              what else an image may hold
    writing, changes                writes in place; allocation, copy on write, zeroes, discards
    allocation, links, freeing      who waits for whom, and in which order a crash may interrupt
    refcount_block, refcounts,      which clusters are used, and some ahead
      reserve
    guard, consistency, recount     what keeps a damaged image from more damage, and its repair
    create                          new images
"""
