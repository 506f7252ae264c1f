"""Jobs: work in the background on nodes.

::

    state, pace        arithmetic and tables, no lock
      ↑
    transaction        the lock; jobs that end together
      ↑
    job                one job: its thread, its verbs, its events
      ↑
    registry           all of them by id; lives in the graph
"""
