"""What is said while a change of the layout is waited for."""

from __future__ import annotations

import pytest
from msgspec import structs

from rs3gwd.base.cluster_admin import LayoutNode, LayoutPicture
from tools.rs3gwctl.cluster_amounts import as_duration, parse_bytes
from tools.rs3gwctl.cluster_waiting import STEPS, Bar, Lines, Looks, Progress

GIB = 1 << 30
NODE = LayoutNode(1, "", 1, 768, 1024, obeys_version=5, synced_version=4, is_waited_for=True)


def picture(*nodes: LayoutNode, is_changing: bool = True) -> LayoutPicture:
    """A layout on its way from version 4 to version 5."""
    return LayoutPicture(5, [4, 5] if is_changing else [5], 3, 1, 1024, 1, is_changing, list(nodes))


def node(number: int, *, lacks: int | None = 0, compared: bool | None = True) -> LayoutNode:
    """A node that goes by version 5 and has yet to have all of it."""
    return structs.replace(NODE, node=number, is_compared=compared, bytes_lacking=lacks)


def test_the_time_left_follows_from_what_was_fetched() -> None:
    """A quarter in a minute leaves three; the share never counts from before all was known."""
    looks = Looks()
    texts = [
        looks.add(picture(node(1), node(4, lacks=lacks)), now_s).text
        for lacks, now_s in ((4 * GIB, 0.0), (8 * GIB, 10.0), (6 * GIB, 70.0), (GIB, 100.0))
    ]
    assert texts == [
        "4.0 GiB left to fetch (node 4)",
        "8.0 GiB left to fetch (node 4)",
        "6.0 GiB left to fetch (node 4), about 3 min 0 s",
        "1.0 GiB left to fetch (node 4), about 13 s",
    ]


def test_each_stage_has_its_words() -> None:
    """Who goes by the old version, who compares, who is silent, who has yet to say that it is done,
    and the end."""
    behind = structs.replace(node(2), obeys_version=4)
    for nodes, phase, text in (
        ([behind, node(1)], "obeying", "node 2 yet to go by version 5"),
        (
            [node(1, lacks=GIB, compared=False), node(3)],
            "comparing",
            "node 1 yet to find out what to fetch; 1.0 GiB so far",
        ),
        ([node(1), node(2)], "ending", "nodes 1, 2 yet to say that all is there"),
        (
            [node(1, lacks=GIB), node(2, lacks=None, compared=None)],
            "silence",
            "1.0 GiB left to fetch (node 1); no answer of node 2",
        ),
    ):
        said = Looks().add(picture(*nodes), 0.0)
        assert (said.share, said.phase, said.text) == (0.0, phase, text)
    done = Looks().add(picture(node(1), is_changing=False), 0.0)
    assert done == Progress(1.0, "done", "version 5 is in force")


def test_lines_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    """One for each stage and one every ten seconds."""
    lines = Lines()
    for second in range(25):
        lines.show(Progress(second / 25, "fetching", f"look {second}"), float(second))
    lines.show(Progress(1.0, "done", "all"), 25.0)
    said = capsys.readouterr().err.splitlines()
    assert said == ["  0%  look 0", " 40%  look 10", " 80%  look 20", "100%  all"]


def test_a_bar_never_goes_back() -> None:
    """Also where more turns out to be lacking than was known at first."""
    drawn: list[tuple[int, str]] = []
    bar = Bar(lambda steps, text: drawn.append((steps, text)))
    for share in (0.0, 0.5, 0.25, 1.0):
        bar.show(Progress(share, "fetching", str(share)), 0.0)
    assert [steps for steps, _ in drawn] == [0, STEPS // 2, 0, STEPS // 2]
    assert drawn[2][1] == "0.25"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("12", 12),
        ("12 B", 12),
        ("2TB", 2 * 10**12),
        ("2T", 2 * 10**12),
        (" 1.5 TiB ", 3 << 39),
        ("1kib", 1024),
        ("0.5kB", 500),
        ("1E", 10**18),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    """Powers of 1000, or of 1024 with an i."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "TB", "-1", "1.5", "1e9", "2 XB", "0x10", "1,5TB", "9" * 20])
def test_what_is_no_size_is_refused(text: str) -> None:
    """With an example of one."""
    with pytest.raises(ValueError, match="is not a"):
        parse_bytes(text)


def test_durations_have_two_units() -> None:
    """Of what people plan by."""
    assert [as_duration(each) for each in (0.2, 59.6, 3599, 90_000)] == [
        "0 s",
        "1 min 0 s",
        "59 min 59 s",
        "25 h 0 min",
    ]
