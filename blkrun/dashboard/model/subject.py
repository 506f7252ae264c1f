"""What is selected: whatever the plots, the inspector and the keys are about."""

from typing import Literal, NamedTuple


class Subject(NamedTuple):
    """Something of the graph, by its name."""

    kind: Literal["node", "export", "group"]
    name: str
