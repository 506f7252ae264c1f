"""What is selected, whichever panel it was selected in."""

from typing import Literal, NamedTuple

SubjectKind = Literal["node", "export", "group"]


class Subject(NamedTuple):
    """A node, an export or a throttle group, by its name."""

    kind: SubjectKind
    name: str
