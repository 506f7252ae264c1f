"""``python -m tests.bench``: the data path beside nbdkit's C plugin and qemu-storage-daemon.

servers    what is compared, a row of the table each
place      the directory of a run: images, sockets, logs
process    a server that is up, and its CPU time
load       what is asked of them: fio's nbd engine
schedule   which server is measured when: interleaved, so that the machine's moods hit all
middle     medians, and between what they lie
report     medians, ratios, the table
reach      what is to be reached, and whether it was
backups    what a backup costs a client that writes
edits      filters inserted and removed under load
stats_call x-blkrun-stats over a hundred nodes
watching   a dashboard beside a server of fifty nodes
planning   what a plan takes, of a thousand nodes and of ten thousand
"""
