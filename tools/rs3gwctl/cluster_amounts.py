"""How numbers stand in the tables of `rs3gwctl cluster`."""

from typing import Final

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


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
