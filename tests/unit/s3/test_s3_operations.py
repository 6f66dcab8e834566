"""The table of operations against botocore's model of S3."""

import gzip
import json
from pathlib import Path
from typing import Any

import botocore
import pytest

from rs3gwd.s3.operations import OPERATIONS, Level

MODEL_COUNT = 116


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    """botocore's operations with their shapes resolved as far as is needed here."""
    folder = Path(botocore.__file__).parent / "data/s3/2006-03-01"
    return json.loads(gzip.decompress((folder / "service-2.json.gz").read_bytes()))


def _split_uri(uri: str) -> tuple[str, set[str]]:
    path, _, query = uri.partition("?")
    return path, {part.partition("=")[0] for part in query.split("&") if part}


def test_the_table_has_exactly_the_operations_of_the_model(model: dict[str, Any]) -> None:
    """Neither an operation of AWS nor a row is without its partner."""
    rows = [row.name for row in OPERATIONS if row.in_model]
    assert len(rows) == len(set(rows)) == len(model["operations"]) == MODEL_COUNT
    assert set(rows) == set(model["operations"])


def test_each_row_has_the_method_and_level_of_the_model(model: dict[str, Any]) -> None:
    """What a client sends for an operation is what its row recognises."""
    levels = {
        "/": Level.SERVICE,
        "/{Bucket}": Level.BUCKET,
        "/{Bucket}/{Key+}": Level.OBJECT,
        "/WriteGetObjectResponse": Level.SERVICE,
    }
    for row in OPERATIONS:
        if row.in_model:
            http = model["operations"][row.name]["http"]
            path, _ = _split_uri(http["requestUri"])
            assert (row.method, row.level) == (http["method"], levels[path]), row.name


def test_each_row_selects_by_the_query_of_the_model(model: dict[str, Any]) -> None:
    """Sub-resources in the model's target are in the row, and the row has no other than required
    arguments besides.
    """
    for row in OPERATIONS:
        if not row.in_model:
            continue
        operation = model["operations"][row.name]
        _, names = _split_uri(operation["http"]["requestUri"])
        shape = model["shapes"][operation["input"]["shape"]] if "input" in operation else {}
        members = shape.get("members", {})
        arguments = {
            member["locationName"]
            for member in members.values()
            if member.get("location") == "querystring"
        }
        names.discard("select-type")
        assert names <= set(row.query), row.name
        assert set(row.query) - names <= arguments, row.name


def test_each_header_that_selects_a_row_is_required_by_the_model(model: dict[str, Any]) -> None:
    """A row is chosen by a header only where no such request lacks it."""
    for row in OPERATIONS:
        if row.header:
            shape = model["shapes"][model["operations"][row.name]["input"]["shape"]]
            required = {shape["members"][name].get("locationName") for name in shape["required"]}
            assert row.header in required, row.name


def test_an_alias_names_a_row_with_the_same_request() -> None:
    """An old name shares method, level and query with the row that answers for it."""
    rows = {row.name: row for row in OPERATIONS}
    aliases = [row for row in OPERATIONS if row.alias_of]
    assert len(aliases) == 4
    for row in aliases:
        target = rows[row.alias_of]
        assert (row.method, row.level, row.query) == (target.method, target.level, target.query)
        assert not target.alias_of


def test_no_two_routed_rows_are_the_same_request() -> None:
    """Which row a request gets never depends on the order of the table."""
    requests = [
        (row.level, row.method, row.query, row.header) for row in OPERATIONS if not row.alias_of
    ]
    assert len(requests) == len(set(requests))


def test_every_row_names_an_action() -> None:
    """Authorisation has something to decide for each operation."""
    for row in OPERATIONS:
        service, _, action = row.action.partition(":")
        assert service in ("s3", "s3express", "s3-object-lambda"), row.name
        assert action[:1].isupper(), row.name
