"""How numbers stand in the tables of `rs3gwctl cluster`, and how people write them."""

import re
from typing import Final

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

_SIZE: Final = re.compile(r"([0-9]{1,19})(\.[0-9]{1,6})? ?([kMGTPE]i?)?B?", re.IGNORECASE)
_POWERS: Final = "kmgtpe"


def as_cell(value: int | None) -> str:
    """A number, or a dash for one that nobody told."""
    return "-" if value is None else str(value)


def as_bytes(value: int | None) -> str:
    """Bytes in the unit that leaves one to four digits before the point."""
    if value is None:
        return "-"
    amount = float(value)
    for unit in _UNITS[:-1]:
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} {_UNITS[-1]}"


def as_ago(milliseconds: int | None) -> str:
    """How long ago something was."""
    if milliseconds is None:
        return "never"
    seconds = milliseconds / 1000
    if seconds < 120:
        return f"{seconds:.1f} s ago"
    return f"{seconds / 60:.0f} min ago"


def as_duration(seconds: float) -> str:
    """How long something takes, in its two largest units at most."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, seconds_left = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {seconds_left} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min"


def parse_bytes(text: str) -> int:
    """Bytes of `2TB` (powers of 1000), `1.5 TiB` (of 1024) or a plain number.

    Raises ValueError for everything else.
    """
    size = _SIZE.fullmatch(text.strip())
    if size is None:
        raise ValueError(f"{text[:50]!r} is not a size; one is like 2TB, 1.5TiB or 0")
    whole, part, unit = size[1], size[2] or ".0", (size[3] or "").lower()
    if size[3] is None and size[2] is not None:
        raise ValueError(f"{text[:50]!r} is not a whole number of bytes")
    base = 1024 if unit.endswith("i") else 1000
    factor: int = base ** (_POWERS.index(unit[0]) + 1) if unit else 1
    parts: int = 10 ** len(part[1:])
    return int(whole + part[1:]) * factor // parts
