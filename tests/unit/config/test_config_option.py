"""One option: what text and TOML values it takes, and how it is shown."""

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from rs3gwd.base.records import Durability
from rs3gwd.config.option import AUTO, INTEGER_MAX, Option, Spec, Topic, options_of


def option(value_type: type, **spec: object) -> Option:
    """An option of one type, with a Spec of these fields."""
    return Option("x", value_type, "", Spec(Topic.LIMITS, "RS3GW_X", "Help.", **spec))  # type: ignore[arg-type]


def test_the_table_follows_from_the_fields() -> None:
    """An annotated field gives name, type and default of its option."""

    class Sample(Struct):
        first_secs: Annotated[int, Spec(Topic.LIMITS, "RS3GW_FIRST", "Help.")] = 3

    (row,) = options_of(Sample)
    assert (row.name, row.type, row.default, row.key, row.flag) == (
        "first_secs",
        int,
        3,
        "first_secs",
        "--first-secs",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("65536", 65536),
        (" 7 ", 7),
        ("64 KiB", 65536),
        ("2MiB", 2 << 20),
        ("1 GiB", 1 << 30),
    ],
)
def test_bytes_are_read_plain_or_with_a_binary_unit(text: str, expected: int) -> None:
    """A size in bytes may be written with KiB, MiB, GiB or TiB behind it."""
    assert option(int, unit="bytes").parse_text(text) == expected


@pytest.mark.parametrize(
    "text", ["", "x", "1.5", "1_000", "0x10", "1 KB", "64KiB", "９", "1e3", "+1"]
)
def test_what_is_not_a_decimal_integer_is_refused(text: str) -> None:
    """Python's wider notions of an integer, other digits and units of other options are refused."""
    with pytest.raises(ValueError, match="is not an integer"):
        option(int, unit="seconds").parse_text(text)


@pytest.mark.parametrize("text", ["0", "11", "-1", "99999999999999999999"])
def test_an_integer_outside_its_bounds_is_refused(text: str) -> None:
    """Both bounds are inclusive and nothing beyond them is taken."""
    limited = option(int, least=1, most=10)
    assert [limited.parse_text("1"), limited.parse_text("10")] == [1, 10]
    with pytest.raises(ValueError, match="out of range"):
        limited.parse_text(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), ("ON", True), ("yes", True), ("1", True), ("false", False), ("off", False)],
)
def test_booleans_are_read_in_their_usual_spellings(text: str, expected: bool) -> None:
    """true, on, yes and 1 are one value; false, off, no and 0 the other."""
    assert option(bool).parse_text(text) is expected


def test_a_word_that_is_no_boolean_is_refused() -> None:
    """A misspelt boolean is not taken for false."""
    with pytest.raises(ValueError, match="neither true nor false"):
        option(bool).parse_text("ture")


def test_a_list_is_split_at_commas_and_each_item_is_checked() -> None:
    """Spaces around items and empty items go; one wrong item refuses the list."""
    hosts = option(tuple[str, ...], pattern="[a-z.]+", shape="a host")  # type: ignore[arg-type]
    assert hosts.parse_text("a.b, c,,") == ("a.b", "c")
    assert hosts.parse_toml(["a.b", "c"]) == ("a.b", "c")
    with pytest.raises(ValueError, match="'B' is not a host"):
        hosts.parse_text("a,B")


def test_a_choice_becomes_its_enum_member() -> None:
    """An enum option takes its values and nothing else, and says which they are."""
    choice = option(Durability)
    assert choice.parse_text("relaxed") is Durability.RELAXED
    assert choice.range_text == "strict | relaxed | ephemeral"
    with pytest.raises(ValueError, match="none of its values"):
        choice.parse_text("Strict")


@pytest.mark.parametrize(
    ("value_type", "value"),
    [
        (int, True),
        (int, 1.0),
        (int, "5"),
        (bool, 1),
        (bool, "true"),
        (str, 5),
        (str, ["a"]),
        (str, {}),
    ],
)
def test_toml_values_keep_their_types(value_type: type, value: object) -> None:
    """TOML has types of its own, so a value of another type is refused and not converted."""
    with pytest.raises(ValueError, match="expected"):
        option(value_type).parse_toml(value)


def test_toml_items_must_be_strings() -> None:
    """A list of other things than strings is refused."""
    with pytest.raises(ValueError, match="an integer in a list of strings"):
        option(tuple[str, ...]).parse_toml([1])  # type: ignore[arg-type]


def test_a_size_in_bytes_may_be_a_string_in_toml() -> None:
    """The form with a unit needs quotes in TOML."""
    assert option(int, unit="bytes").parse_toml("1 MiB") == 1 << 20


def test_a_refused_secret_is_not_repeated() -> None:
    """The reason given for a malformed secret does not hold it."""
    secret = option(str, pattern="[0-9]+", shape="digits", secret=True)
    with pytest.raises(ValueError, match="the value is not digits"):
        secret.parse_text("abc")
    assert secret.show("123") == "(hidden)"
    assert secret.flag == ""


@given(st.text())
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    """No text makes parsing fail in another way, and what is taken is within its bounds."""
    for value_type in (str, int, bool, tuple[str, ...], Durability):
        row = option(value_type, unit="bytes", most=100)  # type: ignore[arg-type]
        try:
            value = row.parse_text(text)
        except ValueError:
            continue
        assert isinstance(row.show(value), str)
        assert not isinstance(value, int) or 0 <= value <= 100


def test_the_widest_range_is_said_without_its_end() -> None:
    """An integer without an upper bound of its own reads `or more`."""
    assert option(int, least=5).range_text == "5 or more"
    assert option(int, most=9, zero="never").range_text == "0 to 9 (0: never)"
    assert option(int).parse_text(str(INTEGER_MAX)) == INTEGER_MAX


def test_the_word_auto_stands_for_a_number_of_the_machine() -> None:
    """An option that knows it takes it in text and TOML and shows it; another one refuses it."""
    row = option(int, auto="one for each core", most=8)
    assert row.parse_text(" auto ") == row.parse_toml("auto") == AUTO
    assert row.parse_toml(3) == row.parse_text("3") == 3
    assert (row.show(AUTO), row.show(3)) == ("auto", "3")
    assert row.range_text == "0 to 8, or auto: one for each core"
    for wrong in ("-1", "Auto", "9"):
        with pytest.raises(ValueError):
            row.parse_text(wrong)
    with pytest.raises(ValueError, match="is not an integer"):
        option(int).parse_text("auto")
