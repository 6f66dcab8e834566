"""Hypothesis strategies for keys, prefixes and delimiters that break naive encodings."""

from __future__ import annotations

from hypothesis import strategies as st

KEY_BYTES_MAX = 1024

# The engine cuts long keys into chunks of 500 bytes and escapes NUL, so both are surrounded.
LONG = b"p" * 500
PIECES = (
    b"a",
    b"b",
    b"/",
    b"//",
    b"..",
    b"./",
    b"\x00",
    b"\x00\x01",
    b"\x01",
    b" ",
    b"%2F",
    b"\x7f",
    "\u00ff".encode(),
    "\ufffd".encode(),
    "\uffff".encode(),
    "\U0010ffff".encode(),
    b"p" * 499,
    LONG,
    b"p" * 511,
)
POOL = (
    b"a",
    b"a/",
    b"a//",
    b"a//b",
    b"a/b",
    b"a/b/c",
    b"a/\x00",
    b"a\x00",
    b"a\x00b",
    b"a0",
    b"/",
    b"//",
    b"..",
    b"../a",
    b"a/../b",
    b"\x00",
    b"\x00\x01",
    b"\x01",
    "a/\u00ff".encode(),
    "\U0010ffff".encode(),
    "\U0010ffff\U0010ffff".encode(),
    LONG,
    LONG + b"a",
    LONG + b"a/b",
    LONG + b"/",
    LONG + b"\x00",
    LONG + LONG,
    LONG + LONG + b"q" * 24,
    LONG + LONG + b"p" * 23 + b"q",
    LONG + LONG + b"\x00" * 24,
    b"p" * 1024,
    b"p" * 499 + b"/",
    b"p" * 511,
    b"p" * 512,
    b"\x00" * 1024,
    "\U0010ffff".encode() * 256,
)


def _cut(pieces: list[bytes]) -> bytes:
    """At most 1,024 bytes, cut between characters."""
    return b"".join(pieces)[:KEY_BYTES_MAX].decode(errors="ignore").encode()


# By number: Hypothesis shows what it drew from, and these are 40 KiB.
pool = st.integers(0, len(POOL) - 1).map(lambda place: POOL[place])
pieces = st.integers(0, len(PIECES) - 1).map(lambda place: PIECES[place])
keys = st.one_of(pool, pool, st.lists(pieces, min_size=1, max_size=5).map(_cut))
"""Legal keys: 1 to 1,024 bytes of UTF-8."""


@st.composite
def prefixes(draw: st.DrawFn) -> bytes:
    """Beginnings of keys, whole characters or not."""
    if draw(st.integers(0, 2)) == 0:
        return b""
    key = draw(keys)
    length = draw(st.one_of(st.integers(0, 4), st.integers(0, len(key))))
    return key[:length]


delimiters = st.sampled_from(
    [b"", b"/", b"/", b"/", b"//", b"a", b"p", b"\x00", b"b/", "\u00ff".encode(), LONG]
)
"""Any string is a delimiter; most clients give `/`."""

starts = st.one_of(st.just(b""), keys, prefixes())
"""Where a listing begins: a key that is there, or one that never was."""
