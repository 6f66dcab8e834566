"""Accounts and access keys: made from random bytes, or taken over from another store.

Generated values look like those of AWS: a canonical id of 64 hex digits, an access key id of 20
upper-case letters and digits, a secret of 40 characters. Imported values may be what other stores
hand out, within bounds that keep them safe in a header, a URL and a configuration file: no `/` or
`,` in an access key id, which would break the Credential of a signature.

Pure: time and randomness are arguments. Whether a name or id is taken is the store's to say.
"""

import re
from base64 import b32encode, b64encode

from rs3gwd.base.errors import ApiError
from rs3gwd.base.ports import Random
from rs3gwd.base.records import AccessKeyRecord, AccountRecord

ACCESS_KEY_PREFIX = "RSKA"
"""The first characters of a generated access key id, as AKIA are AWS's: secret scanners and people
can tell where a leaked key belongs."""

SESSION_KEY_PREFIX = "RSKS"
"""The first characters of the access key id of a session, as ASIA are AWS's."""

ACCESS_KEY_ID_CHARACTERS_MIN = 3
ACCESS_KEY_ID_CHARACTERS_MAX = 128
"""MinIO takes 3 to 20 characters, AWS 16 to 128."""

SECRET_CHARACTERS_MIN = 8
SECRET_CHARACTERS_MAX = 128
"""MinIO takes 8 to 40 characters."""

DISPLAY_NAME_CHARACTERS_MAX = 128
EMAIL_CHARACTERS_MAX = 254
"""RFC 5321 with erratum 1690: the longest address that can be used."""

_CANONICAL_ID = re.compile(r"[0-9a-f]{64}")
_ACCESS_KEY_ID_FOREIGN = re.compile(r"[^A-Za-z0-9_.@+-]")
_EMAIL = re.compile(r"[^@\s,;<>()\x00-\x1f\x7f]+@[^@\s,;<>()\x00-\x1f\x7f]+")


def make_account(
    *,
    display_name: str,
    email: str = "",
    canonical_id: str | None = None,
    now_ms: int,
    random: Random,
    is_root: bool = False,
) -> AccountRecord:
    """A new account; without `canonical_id` one is made of 32 random bytes.

    `email` may be empty. Raises ApiError InvalidArgument that names the field and, where there is
    one, the nearest value that would be taken.
    """
    if canonical_id is None:
        canonical_id = random.token_bytes(32).hex()
    return AccountRecord(
        canonical_id=check_canonical_id(canonical_id),
        display_name=check_display_name(display_name),
        email=check_email(email),
        created_ms=now_ms,
        is_root=is_root,
    )


def make_access_key(
    *,
    canonical_id: str,
    access_key_id: str | None = None,
    secret: str | None = None,
    user_name: str = "",
    now_ms: int,
    random: Random,
) -> AccessKeyRecord:
    """A new access key of an account, or of a user of it; what is None is generated.

    Raises as `make_account` does.
    """
    if access_key_id is None:
        access_key_id = make_access_key_id(ACCESS_KEY_PREFIX, random)
    if secret is None:
        secret = make_secret(random)
    return AccessKeyRecord(
        access_key_id=check_access_key_id(access_key_id),
        secret=check_secret(secret),
        canonical_id=check_canonical_id(canonical_id),
        created_ms=now_ms,
        user_name=user_name,
    )


def make_access_key_id(prefix: str, random: Random) -> str:
    """A new access key id of 20 characters."""
    return prefix + b32encode(random.token_bytes(10)).decode("ascii")


def make_secret(random: Random) -> str:
    """A new secret of 40 characters."""
    # 30 bytes are 40 characters of base64; `-` and `_` survive shells, URLs and INI files.
    return b64encode(random.token_bytes(30), altchars=b"-_").decode("ascii")


def check_canonical_id(text: str) -> str:
    """`text` when it is 64 lower-case hex digits; raises ApiError InvalidArgument."""
    if _CANONICAL_ID.fullmatch(text):
        return text
    nearest = text.strip().lower()
    if not _CANONICAL_ID.fullmatch(nearest):
        nearest = ""
    raise _invalid("canonical id", text, "must be 64 lower-case hex digits", nearest)


def check_access_key_id(text: str) -> str:
    """`text` when it is 3 to 128 of `A-Z a-z 0-9 _ . @ + -`; raises ApiError InvalidArgument."""
    is_foreign = _ACCESS_KEY_ID_FOREIGN.search(text) is not None
    if not is_foreign and ACCESS_KEY_ID_CHARACTERS_MIN <= len(text) <= ACCESS_KEY_ID_CHARACTERS_MAX:
        return text
    nearest = _ACCESS_KEY_ID_FOREIGN.sub("", text)[:ACCESS_KEY_ID_CHARACTERS_MAX]
    if len(nearest) < ACCESS_KEY_ID_CHARACTERS_MIN:
        nearest = ""
    rule = (
        f"must have {ACCESS_KEY_ID_CHARACTERS_MIN} to {ACCESS_KEY_ID_CHARACTERS_MAX} characters "
        "out of A-Z a-z 0-9 _ . @ + -"
    )
    raise _invalid("access key id", text, rule, nearest)


def check_secret(text: str) -> str:
    """`text` when it is 8 to 128 visible ASCII characters; raises ApiError InvalidArgument.

    The refusal shows neither the secret nor anything near it.
    """
    is_visible = all("!" <= character <= "~" for character in text)
    if is_visible and SECRET_CHARACTERS_MIN <= len(text) <= SECRET_CHARACTERS_MAX:
        return text
    raise ApiError(
        "InvalidArgument",
        f"The secret must have {SECRET_CHARACTERS_MIN} to {SECRET_CHARACTERS_MAX} visible ASCII "
        f"characters; the one given has {len(text)}"
        + ("." if is_visible else ", and blanks or other characters among them."),
        fields={"ArgumentName": "secret"},
    )


def check_display_name(text: str) -> str:
    """`text` when it is 1 to 128 printable characters without outer blanks; raises ApiError."""
    is_clean = text.isprintable() and text == text.strip()
    if is_clean and 1 <= len(text) <= DISPLAY_NAME_CHARACTERS_MAX:
        return text
    printable = "".join(character for character in text if character.isprintable())
    nearest = printable.strip()[:DISPLAY_NAME_CHARACTERS_MAX].strip()
    rule = (
        f"must have 1 to {DISPLAY_NAME_CHARACTERS_MAX} printable characters, no blank at either end"
    )
    raise _invalid("display name", text, rule, nearest)


def check_email(text: str) -> str:
    """`text` when it is empty or looks like one address; raises ApiError InvalidArgument."""
    if not text or (len(text) <= EMAIL_CHARACTERS_MAX and _EMAIL.fullmatch(text)):
        return text
    nearest = text.strip().strip("<>")
    if len(nearest) > EMAIL_CHARACTERS_MAX or not _EMAIL.fullmatch(nearest):
        nearest = ""
    rule = (
        f"must be empty or one address (name@domain) of at most {EMAIL_CHARACTERS_MAX} characters"
    )
    raise _invalid("email", text, rule, nearest)


def _invalid(field: str, value: str, rule: str, nearest: str) -> ApiError:
    shown = value if len(value) <= 200 else f"{value[:200]}..."
    suggestion = f"; the nearest valid one is {nearest!r}" if nearest else ""
    return ApiError(
        "InvalidArgument",
        f"The {field} {shown!r} {rule}{suggestion}.",
        fields={"ArgumentName": field, "ArgumentValue": shown},
    )
