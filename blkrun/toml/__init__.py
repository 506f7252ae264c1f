"""A TOML text with the places of its keys: for every file a person writes, whatever it is about.

``source`` reads it, ``syntax`` makes a ``part`` of it or says why not, ``positions`` knows where
each key is, ``diagnostics`` shows what is wrong with line and caret.
"""
