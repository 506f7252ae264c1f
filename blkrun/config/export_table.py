"""One export's table: what clients see, and limits of its own.

QEMU's block-export-add knows no limits, so they are no options of the export: ``resolve`` writes
them out as the throttle node and group that the table names (see ExportTable).
"""

from blkrun.config.node_table import current, guess_again, with_context
from blkrun.config.tables import ExportTable, Raw
from blkrun.decode import Path, Problem, decode
from blkrun.options import ExportOptions, ThrottleLimits

_LIMITS = frozenset(ThrottleLimits.__struct_encode_fields__)
_KEYS = (*ExportOptions.__struct_encode_fields__, *ThrottleLimits.__struct_encode_fields__)


def decode_export(path: Path, raw: Raw, problems: list[Problem]) -> ExportTable:
    """Decode one table, each key by the Struct that has it; a mistake in one leaves the other."""
    found: list[Problem] = []
    for struct in (ExportOptions, ThrottleLimits):
        raw = current(struct, raw, problems, path)
    own = {key: value for key, value in raw.items() if key not in _LIMITS}
    options = decode(ExportOptions, own, found, path)
    written = {key: value for key, value in raw.items() if key in _LIMITS}
    limits = decode(ThrottleLimits, written, found, path)
    problems.extend(with_context(guess_again(problem, _KEYS)) for problem in found)
    return ExportTable(path=path, raw=raw, options=options, limits=limits)
