"""One step of a plan."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Operation:
    """One action.  ``sign`` is + - or ~; ``table`` is what would define it (see Config.made_by)."""

    type: str
    data: dict[str, Any]
    sign: str
    text: str
    table: str

    def action(self) -> dict[str, Any]:
        """As an element of a transaction's ``actions``."""
        return {"type": self.type, "data": self.data}
