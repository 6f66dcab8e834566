"""The pictures of a run are SVG with what happened in them."""

from __future__ import annotations

from xml.etree import ElementTree

from chaos.plots import HEIGHT, MARGIN, Answered, Band, draw


def points_of(document: str) -> list[list[tuple[float, float]]]:
    """The lines of the picture."""
    lines = [each for each in ElementTree.fromstring(document).iter() if "polyline" in each.tag]
    return [
        [
            (float(x), float(y))
            for x, y in (point.split(",") for point in line.get("points", "").split())
        ]
        for line in lines
    ]


def test_the_highest_point_is_where_most_was_answered() -> None:
    """Four answers in the third quarter of the first second, one each before and after."""
    answered = [Answered(0.0, 0.1), *[Answered(0.5, 0.6)] * 4, Answered(0.9, 1.1)]
    counts, slowest = points_of(draw(answered, []))
    assert min(counts, key=lambda point: point[1]) == counts[2]
    assert counts[2][1] == MARGIN
    assert slowest[4][1] == HEIGHT + MARGIN
    assert [len(counts), len(slowest)] == [5, 5]


def test_a_fault_is_a_band_with_its_name() -> None:
    """In both pictures, its name escaped."""
    document = draw([Answered(10.0, 10.5), Answered(19.0, 20.0)], [Band("<kill> 1", 12.0, 14.0)])
    bands = [each for each in ElementTree.fromstring(document).iter() if "rect" in each.tag]
    assert len(bands) == 2
    assert all("".join(each.itertext()) == "<kill> 1" for each in bands)


def test_a_run_without_answers_has_a_picture() -> None:
    """An empty one."""
    assert ElementTree.fromstring(draw([], [])).tag.endswith("svg")
