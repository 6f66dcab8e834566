"""Making and checking accounts and access keys."""

import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.base.errors import ApiError
from rs3gwd.iam.accounts import (
    check_access_key_id,
    check_canonical_id,
    check_display_name,
    check_email,
    check_secret,
    make_access_key,
    make_account,
)


class CountingRandom:
    """Bytes that count up, so that a test knows them."""

    def __init__(self) -> None:
        self.next = 0

    def token_bytes(self, count: int) -> bytes:
        self.next += 1
        return bytes((self.next * 37 + index) % 256 for index in range(count))


def test_what_is_generated_has_the_shape_of_aws() -> None:
    """64 hex digits, 20 upper-case letters and digits, 40 characters, all different."""
    random = CountingRandom()
    accounts = [make_account(display_name="a", now_ms=5, random=random) for _ in range(2)]
    keys = [
        make_access_key(canonical_id=accounts[0].canonical_id, now_ms=6, random=random)
        for _ in range(2)
    ]
    assert all(re.fullmatch("[0-9a-f]{64}", account.canonical_id) for account in accounts)
    assert all(re.fullmatch("RSKA[A-Z2-7]{16}", key.access_key_id) for key in keys)
    assert all(re.fullmatch("[A-Za-z0-9_-]{40}", key.secret) for key in keys)
    assert accounts[0].canonical_id != accounts[1].canonical_id
    assert keys[0].access_key_id != keys[1].access_key_id
    assert keys[0].secret != keys[1].secret
    assert (accounts[0].created_ms, keys[0].created_ms) == (5, 6)
    assert (accounts[0].is_root, accounts[0].email) == (False, "")


def test_what_is_imported_is_kept() -> None:
    """Ids, names, keys and secrets of another store are taken over as they are."""
    random = CountingRandom()
    account = make_account(
        display_name="Ünal & Co.",
        email="it@example.org",
        canonical_id="0" * 64,
        now_ms=0,
        random=random,
        is_root=True,
    )
    key = make_access_key(
        canonical_id="0" * 64,
        access_key_id="minioadmin",
        secret="wJalr/XUtn+EMI=",
        now_ms=0,
        random=random,
    )
    assert (account.canonical_id, account.display_name) == ("0" * 64, "Ünal & Co.")
    assert (account.email, account.is_root) == ("it@example.org", True)
    assert (key.access_key_id, key.secret) == ("minioadmin", "wJalr/XUtn+EMI=")
    assert random.next == 0


@pytest.mark.parametrize(
    ("checker", "value", "nearest"),
    [
        (check_canonical_id, "A" * 64, repr("a" * 64)),
        (check_canonical_id, "a" * 63, None),
        (check_canonical_id, "g" * 64, None),
        (check_access_key_id, "ab", None),
        (check_access_key_id, "", None),
        (check_access_key_id, "my/key", "'mykey'"),
        (check_access_key_id, "my,key id", "'mykeyid'"),
        (check_access_key_id, "k" * 129, repr("k" * 128)),
        (check_access_key_id, "ключ", None),
        (check_display_name, "", None),
        (check_display_name, " a\n", "'a'"),
        (check_display_name, "n" * 129, repr("n" * 128)),
        (check_email, "nobody", None),
        (check_email, " a@b ", "'a@b'"),
        (check_email, "<a@b>", "'a@b'"),
        (check_email, "a@b@c", None),
        (check_email, "a" * 250 + "@b.cd", None),
    ],
)
def test_a_refusal_names_the_nearest_valid_value(
    checker: object, value: str, nearest: str | None
) -> None:
    """InvalidArgument says the rule, and the value that would be taken where there is one."""
    assert callable(checker)
    with pytest.raises(ApiError) as caught:
        checker(value)
    assert caught.value.api_code == "InvalidArgument"
    assert ("nearest" in caught.value.message) == (nearest is not None)
    assert (nearest or "must") in caught.value.message
    assert caught.value.fields["ArgumentName"]


@pytest.mark.parametrize(
    "value", ["short", "", "with a blank in it", "tab\ttab\ttab", "é" * 10, "x" * 129]
)
def test_a_refused_secret_is_not_shown(value: str) -> None:
    """The message gives the rule and the length, never the secret."""
    with pytest.raises(ApiError) as caught:
        check_secret(value)
    shown = str(caught.value) + str(caught.value.fields)
    assert caught.value.api_code == "InvalidArgument"
    assert not value or value not in shown


@pytest.mark.parametrize("value", ["12345678", "x" * 128, "!~" * 4])
def test_secrets_within_the_bounds_are_taken(value: str) -> None:
    """8 to 128 visible ASCII characters."""
    assert check_secret(value) == value


@given(st.text(max_size=300))
def test_the_suggested_value_is_itself_valid(text: str) -> None:
    """Whatever is refused with a suggestion, the suggestion is accepted."""
    for checker in (check_canonical_id, check_access_key_id, check_display_name, check_email):
        try:
            assert checker(text) == text
        except ApiError as error:
            found = re.search(r"the nearest valid one is ('.*'|\".*\")\.$", error.message, re.S)
            if found:
                suggestion = ast.literal_eval(found[1])
                assert checker(suggestion) == suggestion
