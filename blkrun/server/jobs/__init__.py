"""Jobs: work in the background on nodes.

::

    state, pace, rate   arithmetic and tables, no lock
      ↑
    transaction         the lock; jobs that end together
      ↑
    control             one job: its verbs and its events
      ↑
    job                 its thread, and what a type of job has to do
      ↑
    registry            all of them by id; lives in the graph
      ↑
    copying             jobs behind a filter: backup, mirror
"""
