"""What plots are drawn with, where the settings leave it to us."""

from collections.abc import Mapping

from blkrun.dashboard.model.raster import Symbols
from blkrun.dashboard.settings import Symbols as Wanted


def symbols_for(wanted: Wanted, environ: Mapping[str, str]) -> Symbols:
    """Braille, but blocks on the Linux console, whose fonts have none, and ASCII without UTF-8."""
    if wanted != "auto":
        return wanted
    charset = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or "UTF-8"
    if "utf" not in charset.lower() and charset not in ("C", "POSIX"):
        return "ascii"
    return "block" if environ.get("TERM") == "linux" else "braille"
