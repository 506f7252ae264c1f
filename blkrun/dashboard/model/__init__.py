"""What there is to show: pure functions from snapshots to rows, no clock and no I/O.

- what the server said: ``snapshot`` and ``numbers`` (typed replies), ``rates`` (two of them)
- what is known: ``board`` (a feed's reports, folded), ``record`` (events), ``history``, ``rings``
  (30 minutes of numbers), ``sparks`` (a row's last seconds), ``subject`` (what is selected)
- rows of the panels: ``tree``, ``groups``, ``jobs``, ``clients``, ``config``, ``inspect``,
  ``log_view``; ``status`` and ``notice`` above them; ``state`` and ``marks`` in them
- plots: ``plots`` → ``chart`` → ``raster``, with ``sampling`` and ``scale``
- the file's edits: ``edits`` (as commands), ``preview`` (what one would do), ``waiting`` (for a
  yes), ``nudge`` (limits), ``drivers``, ``choices``, ``changes``, ``switching`` (to choose from),
  ``places`` (of a table)
- to take along: ``copying``, ``clipboard``, ``figures``; ``playback``: where a recording is
"""
