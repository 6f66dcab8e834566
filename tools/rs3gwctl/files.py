"""Files that commands are given: a policy, a secret. Read whole, as text, up to a bound."""

from pathlib import Path
from typing import Final

import click

BYTES_MAX: Final = 64 << 10
"""Six times the longest policy; a larger file is not what was meant, and the node takes no larger
request."""


def read_text(path: Path) -> str:
    """The text of a file. Raises click.UsageError where it has none."""
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
        if len(data) > BYTES_MAX:
            raise click.UsageError(f"{path}: larger than {BYTES_MAX} bytes")
        return data.decode("utf-8")
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path}: not text in UTF-8 (byte {error.start})") from error
