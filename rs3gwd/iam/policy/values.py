"""Dates, numbers, addresses and bytes as the values of conditions write them.

A date is ISO 8601 in the forms of W3C's note (a year, a month, a day, or a day with a time and its
zone) or seconds since 1970 as a number. Digits alone are seconds: AWS takes both forms and four
digits could be either, so a year alone is read as seconds, as in AWS's own examples of EpochTime.
Nothing here reads a clock.

Source: "IAM JSON policy elements: Condition operators" in the IAM User Guide; W3C Note
"Date and Time Formats", 1997.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from datetime import UTC, datetime
from decimal import Decimal
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NUMBER_CHARACTERS_MAX = 40
"""Digits of a number that are compared; AWS's are 64 bits wide."""

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)
_MONTH = re.compile(r"\d{4}-\d{2}", re.ASCII)
_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2}))?", re.ASCII
)
_FRACTION = re.compile(r"\.(\d{6})\d+")
_NETWORK = re.compile(r"[0-9A-Fa-f.:]+(?:/\d{1,3})?", re.ASCII)


def read_number(text: str) -> Decimal | None:
    """An exact number, None where `text` is none."""
    if len(text) > NUMBER_CHARACTERS_MAX or not _NUMBER.fullmatch(text):
        return None
    return Decimal(text)


def read_date(text: str) -> Decimal | None:
    """Seconds since 1970, None where `text` is neither a date nor a number."""
    number = read_number(text)
    if number is not None:
        return number
    if _MONTH.fullmatch(text):
        text += "-01"
    if not _DATE.fullmatch(text):
        return None
    try:
        instant = datetime.fromisoformat(_FRACTION.sub(r".\1", text))
    except ValueError:
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return Decimal(str(instant.timestamp()))


def read_address(text: str) -> Address | None:
    """An address; one of version 4 in the clothes of version 6 (::ffff:0:0/96) is of version 4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def read_network(text: str) -> Network | None:
    """A range in CIDR notation, or one address; bits behind the prefix are ignored."""
    if not _NETWORK.fullmatch(text):
        return None
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


def read_base64(text: str) -> bytes | None:
    """The bytes of a base64 text, None where it is none."""
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):
        return None
