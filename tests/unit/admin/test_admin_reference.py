"""The page about the admin API is what the code says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rs3gwd.admin.errors import STATUSES
from rs3gwd.admin.operations import ADMIN_OPERATIONS, SEGMENT
from rs3gwd.admin.reference import render_reference
from rs3gwd.base import cluster_admin
from rs3gwd.base.errors import ApiError, Rs3gwError
from rs3gwd.s3.names import check_new_bucket_name

PAGE = Path(__file__).parents[3] / "docs" / "operate" / "admin-api.md"


def test_the_page_is_the_table() -> None:
    """Written anew when RS3GW_REWRITE is set; otherwise it must not differ."""
    if os.environ.get("RS3GW_REWRITE"):
        PAGE.write_text(render_reference(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == render_reference()


def test_every_row_is_whole() -> None:
    """Names and requests are unique, and each error of its own has a status."""
    assert len({row.name for row in ADMIN_OPERATIONS}) == len(ADMIN_OPERATIONS)
    assert len({(row.method, row.path) for row in ADMIN_OPERATIONS}) == len(ADMIN_OPERATIONS)
    assert {code for row in ADMIN_OPERATIONS for code in row.refusals} <= set(STATUSES)


def test_every_error_about_a_cluster_has_a_status() -> None:
    """None of them reaches a client as a 500 only because its row is missing."""
    errors = [
        each
        for each in vars(cluster_admin).values()
        if isinstance(each, type) and issubclass(each, Rs3gwError) and each.code != "InternalError"
    ]
    assert {each.code for each in errors} >= {"NotACluster", "NotHandedOver"}
    assert {each.code for each in errors} <= set(STATUSES)


def test_no_bucket_stands_at_its_path() -> None:
    """S3 refuses the first segment as the name of a new bucket, and none was ever made without."""
    with pytest.raises(ApiError, match="InvalidBucketName"):
        check_new_bucket_name(SEGMENT)
