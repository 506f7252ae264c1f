"""Names that nobody has chosen."""

import itertools

_generated = itertools.count(100)


def generated_name() -> str:
    """A name for a node that comes with another; users cannot write ``#``."""
    return f"#block{next(_generated)}"
