"""The words of the admin socket: what each side writes, the other reads."""

from msgspec import json

from rs3gwd.base.admin import LayoutChange, NodeStatus, decode_request, encode_frame

HEAD_BYTES = 4


def test_a_request_is_read_by_the_union_of_all() -> None:
    """One type that msgspec cannot bound would keep the socket from answering any request."""
    assert decode_request(encode_frame(NodeStatus())[HEAD_BYTES:]) == NodeStatus()


def test_a_change_of_the_layout_has_bounds_and_may_leave_things_out() -> None:
    """What operators send is bounded where it is given, and null is what they may say."""
    read = json.decode(
        b'{"nodes":[{"node":1,"capacity_bytes":null}],"copies":3}', type=LayoutChange
    )
    assert (read.copies, read.zone_copies_max) == (3, None)
    assert read.nodes[0].capacity_bytes is None
