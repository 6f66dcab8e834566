"""The arguments of a query, read one by one; a malformed one is InvalidArgument. Pure.

AWS names the argument and repeats its value in the error. An argument that is given empty counts
as not given where a number is wanted, as in AWS.
"""

from collections.abc import Mapping

from rs3gwd.base.errors import ApiError
from rs3gwd.base.limits import KEY_BYTES_MAX

INTEGER_MAX = 2**31 - 1
"""The greatest number in a query: AWS takes 32-bit integers."""

_DIGITS_MAX = 10


def argument_error(name: str, value: str, message: str = "") -> ApiError:
    """The InvalidArgument for the argument `name`."""
    return ApiError(
        "InvalidArgument", message, fields={"ArgumentName": name, "ArgumentValue": value}
    )


def integer_argument(
    query: Mapping[str, str],
    name: str,
    *,
    default: int,
    minimum: int = 0,
    maximum: int = INTEGER_MAX,
) -> int:
    """The number of an argument, `minimum` to `maximum`. Raises ApiError InvalidArgument."""
    text = query.get(name)
    if not text:
        return default
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX:
        number = int(text)
        if minimum <= number <= maximum:
            return number
    raise argument_error(
        name,
        text,
        f"Argument {name} must be an integer between {minimum} and {maximum}",
    )


def flag_argument(query: Mapping[str, str], name: str) -> bool:
    """Whether an argument is `true`, any letter case; absent is False. Raises ApiError."""
    text = query.get(name)
    if not text:
        return False
    flag = {"true": True, "false": False}.get(text.lower())
    if flag is None:
        raise argument_error(name, text)
    return flag


def key_argument(query: Mapping[str, str], name: str) -> bytes:
    """A key, prefix, delimiter or marker as bytes, empty where there is none.

    Raises ApiError KeyTooLongError beyond 1,024 bytes.
    """
    key = query.get(name, "").encode()
    if len(key) > KEY_BYTES_MAX:
        raise ApiError(
            "KeyTooLongError", fields={"Size": str(len(key)), "MaxSizeAllowed": str(KEY_BYTES_MAX)}
        )
    return key
