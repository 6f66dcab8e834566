"""`rs3gwctl cluster layout ...`: what people and scripts see of a layout and of changes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from layout_cluster import LayoutCluster

from rs3gwd.base.admin import (
    AdminAnswer,
    AnyAdminRequest,
    ClusterLayoutApply,
    ClusterLayoutRetreat,
    ClusterLayoutShow,
)
from rs3gwd.base.cluster_admin import LayoutChange, LayoutPicture, LayoutPlan, RoleWanted
from tools.rs3gwctl import cluster_asking, cluster_layout, cluster_waiting
from tools.rs3gwctl.cluster_changes import as_options
from tools.rs3gwctl.main import main
from tools.rs3gwctl.session import SessionError


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> LayoutCluster:
    """Four nodes, of which the fourth has joined and holds nothing."""
    made = LayoutCluster(4)
    monkeypatch.setattr(cluster_asking, "administer", made.administer)
    monkeypatch.setattr(cluster_waiting.time, "sleep", lambda seconds: None)
    return made


def say(*words: str, stdin: str = "") -> Result:
    """Runs rs3gwctl in this process."""
    return CliRunner().invoke(main, ["cluster", *words], input=stdin)


def values(*words: str) -> Any:
    """What a program gets of a command that ends well, on standard output alone."""
    said = CliRunner().invoke(main, ["--json", "cluster", *words])
    assert (said.exit_code, said.stderr) == (0, ""), said.output
    return json.loads(said.stdout)


def test_the_layout_is_a_table(four: LayoutCluster) -> None:
    """Who holds how much, who holds none, and whether a change is under way."""
    said = say("layout", "show")
    assert said.exit_code == 0
    lines = said.output.splitlines()
    assert re.match(
        r"layout version \d+: 3 copies of each body, at most 3 of them in a zone; room for",
        lines[0],
    )
    assert re.split("  +", lines[1]) == list(cluster_layout._HEAD)
    version = four.history.current.version if four.history else 0
    cells = [line.split() for line in lines[2:]]
    assert cells[0][:6] == ["1", "-", "931.3", "GiB", "1024", "1024"]
    assert cells[3][:4] == ["4", "-", "none", "0"]
    assert cells[3][5] == str(version)
    picture = msgspec.convert(values("layout", "show"), LayoutPicture)
    assert (picture.version, picture.is_changing) == (version, False)


def test_before_there_is_a_layout_that_is_said(four: LayoutCluster) -> None:
    """In a cluster's first second."""
    four.history = None
    four.roles.clear()
    assert "there is no layout yet" in say("layout", "show").output


def test_a_plan_says_what_would_be_and_does_nothing(four: LayoutCluster) -> None:
    """Versions, shares, what is fetched; and the words that do it."""
    before = four.history
    planned = msgspec.convert(values("layout", "plan", "--node", "4"), LayoutPlan)
    assert [node.partitions_after for node in planned.nodes] == [768] * 4
    assert planned.copies_moved == 768
    said = say("layout", "plan", "--node", "4,zone=b,capacity=2TB", "--copies", "2")
    assert said.exit_code == 0
    assert f"layout version {planned.version} would have 2 copies of each body" in said.output
    assert "of 2048 copies of partitions would be fetched; room for" in said.output
    assert said.output.endswith(
        "To do it: rs3gwctl cluster layout apply --node 4,zone=b,capacity=2000000000000 "
        f"--copies 2 --version {planned.version}\n"
    )
    assert four.history == before
    assert four.asked == []


def test_what_was_planned_is_applied_and_waited_for(four: LayoutCluster) -> None:
    """The words of the plan do it; with --wait the old version is gone when the command ends."""
    planned = values("layout", "plan", "--node", "4")["version"]
    words = ("layout", "apply", "--node", "4", "--version", str(planned))
    assert values(*words) == {"version": planned, "done": False}
    assert four.asked == [ClusterLayoutApply(LayoutChange([RoleWanted(4)]), planned)]
    assert len(four.history.versions) == 2 if four.history else False
    while not four.is_settled():
        four.move()
    said = say("layout", "apply", "--node", "4,capacity=0", "--yes", "--wait")
    assert said.exit_code == 0
    assert said.stdout.endswith(f"version {planned + 1} of the layout is in force alone\n")
    assert four.is_settled()


def test_who_is_asked_may_say_no(four: LayoutCluster) -> None:
    """The plan is shown and a yes wanted; a program says it beforehand."""
    said = say("layout", "apply", "--node", "4", stdin="n\n")
    assert said.exit_code == 1
    assert "Change the layout so?" in said.output
    assert "PARTITIONS NOW" in said.output
    assert four.asked == []
    asked = CliRunner().invoke(main, ["--json", "cluster", "layout", "apply", "--node", "4"])
    assert asked.exit_code == 2
    assert "--json asks nobody" in asked.stderr
    assert say("layout", "apply", "--node", "4", stdin="y\n").exit_code == 0
    assert len(four.asked) == 1


def test_waiting_shows_what_is_left(four: LayoutCluster) -> None:
    """On standard error, with who is waited for and what is to be fetched; not to programs."""
    said = say("layout", "apply", "--node", "4", "--yes", "--wait")
    assert said.exit_code == 0
    assert "yet to go by" in said.stderr
    assert "64.0 MiB left to fetch (node 4)" in said.stderr
    assert said.stderr.splitlines()[-1].startswith("100%  version")


def test_a_change_under_way_is_seen_and_taken_back(four: LayoutCluster) -> None:
    """Another one is refused with the way to look and the way back; `retreat` ends it."""
    four.down.add(2)
    version = values("layout", "apply", "--node", "4", "--yes")["version"]
    shown = say("layout", "show").output
    assert f"nodes move from version {version - 1} to {version}, and both are obeyed" in shown
    assert re.search(r"waited for: .*2", shown)
    busy = say("layout", "plan", "--node", "4")
    assert busy.exit_code == 1
    assert "LayoutBusy" in busy.stderr
    assert "rs3gwctl cluster layout retreat" in busy.stderr
    assert say("layout", "retreat").output == "the change is taken back\n"
    assert isinstance(four.asked[-1], ClusterLayoutRetreat)
    refused = say("layout", "retreat")
    assert refused.exit_code == 1
    assert "LayoutRefused" in refused.stderr


@pytest.mark.parametrize(
    "options", [("--node", "4"), ("--copies", "2"), ("--node", "4,zone=b"), ()], ids=str
)
def test_who_waits_for_a_change_that_is_taken_back_is_told(
    four: LayoutCluster, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """Exit status 1, though nothing is under way any more; whatever the change was."""
    four.down.add(2)

    def retreat(seconds: float) -> None:
        assert four.history is not None
        four.history = four.history.retreat()

    monkeypatch.setattr(cluster_waiting.time, "sleep", retreat)
    said = say("layout", "apply", *options, "--yes", "--wait")
    assert said.exit_code == 1
    assert "was taken back" in said.stderr


def test_a_change_that_is_taken_back_is_not_done_because_its_words_were_true_before(
    four: LayoutCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Node 4 holds copies already, and the change that names it brings node 5 in; then it is taken
    back, and node 4 holds copies as before."""
    assert say("layout", "apply", "--node", "4", "--yes", "--wait").exit_code == 0
    five = LayoutCluster(5)
    five.history = four.history
    monkeypatch.setattr(cluster_asking, "administer", five.administer)
    five.down.add(2)

    def retreat(seconds: float) -> None:
        assert five.history is not None
        five.history = five.history.retreat()

    monkeypatch.setattr(cluster_waiting.time, "sleep", retreat)
    said = say("layout", "apply", "--node", "4", "--yes", "--wait")
    assert said.exit_code == 1
    assert "was taken back" in said.stderr


def test_a_node_that_has_not_heard_of_a_change_says_nothing_of_its_end(
    four: LayoutCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first looks behind the change meet a node that still tells the version before, which is
    in force and moves nowhere: nothing is done, and nothing is said to be."""
    before = four.administer(Path(), ClusterLayoutShow())
    assert before.layout is not None
    looks = 0

    def administer(data: Path, request: AnyAdminRequest) -> AdminAnswer:
        nonlocal looks
        if isinstance(request, ClusterLayoutShow) and four.asked:
            looks += 1
            if looks <= 3:
                return before
        return four.administer(data, request)

    monkeypatch.setattr(cluster_asking, "administer", administer)
    said = say("layout", "apply", "--node", "4", "--yes", "--wait")
    assert said.exit_code == 0
    assert looks > 3
    version = before.layout.version + 1
    assert said.stdout.endswith(f"version {version} of the layout is in force alone\n")
    lines = said.stderr.splitlines()
    assert lines[1] == f"  0%  the node that answers has yet to hear of version {version}"
    assert [line for line in lines if line.startswith("100%")] == lines[-1:]
    assert four.is_settled()


def test_a_later_change_of_somebody_else_is_not_waited_for(
    four: LayoutCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins when this one is done, and may never be."""

    version = values("layout", "plan", "--node", "4")["version"]

    def begin_another(seconds: float) -> None:
        """Between two looks: this change is done, and the next one begins."""
        while not four.is_settled():
            four.move()
        four.down.add(2)
        four.administer(Path(), ClusterLayoutApply(LayoutChange(copies=2), version + 1))
        monkeypatch.setattr(cluster_waiting.time, "sleep", _interrupt)

    monkeypatch.setattr(cluster_waiting.time, "sleep", begin_another)
    said = say("layout", "apply", "--node", "4", "--yes", "--wait")
    assert said.exit_code == 0
    assert said.stdout.endswith(f"version {version} of the layout is in force alone\n")
    assert four.history is not None
    assert [each.version for each in four.history.versions] == [version, version + 1]


def test_an_end_of_waiting_is_no_end_of_the_change(
    four: LayoutCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C says that it goes on and how to look; exit status 1, and no word of an error."""
    monkeypatch.setattr(cluster_waiting.time, "sleep", _interrupt)
    said = say("layout", "apply", "--node", "4", "--yes", "--wait")
    assert said.exit_code == 1
    assert "the change goes on without this command" in said.stderr
    assert "rs3gwctl cluster layout show --watch" in said.stderr
    assert "Error" not in said.stderr


def test_a_short_silence_is_waited_out(
    four: LayoutCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that is started again meanwhile ends nothing; a long silence ends with 2."""
    monkeypatch.setattr(
        cluster_waiting.time, "sleep", lambda _: four.silence.append(SessionError("away"))
    )
    moments = iter([0.0, *(float(each) for each in range(1, 500) for _ in (1, 2))])
    monkeypatch.setattr(cluster_waiting.time, "monotonic", lambda: next(moments))
    said = say("layout", "apply", "--node", "4", "--yes", "--wait")
    assert said.exit_code == 2
    assert "away; the change goes on" in said.stderr
    four.silence[:] = []
    rests = iter([SessionError("away")] * 3)
    monkeypatch.setattr(cluster_waiting.time, "sleep", lambda _: four.silence.extend([*rests][:3]))
    while not four.is_settled():
        four.move()
    said = say("layout", "apply", "--node", "4,capacity=0", "--yes", "--wait")
    assert said.exit_code == 0


def test_watching_shows_what_changes(four: LayoutCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again only for something else, also for silence; Ctrl-C ends it with 0."""
    looks = iter(range(4))

    def sleep(seconds: float) -> None:
        look = next(looks, None)
        if look is None:
            raise KeyboardInterrupt
        if look == 1:
            four.silence.append(SessionError("away"))

    monkeypatch.setattr(cluster_layout.time, "sleep", sleep)
    said = CliRunner().invoke(main, ["--json", "cluster", "layout", "show", "--watch"])
    assert said.exit_code == 0
    lines = [json.loads(line) for line in said.output.splitlines()]
    assert [line.get("error", "layout") for line in lines] == ["layout", "away", "layout"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--node", "0"), "'0' is not the number of a node"),
        (("--node", "-4"), "'-4' is not the number of a node"),
        (("--node", "x,zone=b"), "'x' is not the number of a node"),
        (("--node", "4,zone=a/b"), "zone 'a/b': up to 64 letters"),
        (("--node", "4,capacity=5 apples"), "'5 apples' is not a size"),
        (("--node", "4,capacity=-1"), "'-1' is not a size"),
        (("--node", "4,capacity="), "'' is not a size"),
        (("--node", "4,capacity=9000000TB"), "is beyond any node"),
        (("--node", "4,capacity"), "'capacity' is neither zone=NAME nor capacity=SIZE"),
        (("--node", "4,colour=red"), "'colour=red' is neither"),
        (("--node", "4,zone=a,zone=b"), "'zone=b' is neither"),
        (("--node", "4", "--node", "4,zone=b"), "node 4 is named twice"),
        (("--copies", "0"), "'--copies'"),
        (("--copies", "-3"), "'--copies'"),
        (("--zone-copies-max", "10"), "'--zone-copies-max'"),
    ],
)
def test_what_is_not_understood_ends_with_2(
    four: LayoutCluster, words: tuple[str, ...], said: str
) -> None:
    """It names the mistake, and nobody is asked."""
    for command in ("plan", "apply"):
        answer = say("layout", command, *words)
        assert answer.exit_code == 2
        assert said in answer.stderr
    assert four.asked == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--node", "9"), "LayoutRefused: "),
        (("--copies", "5"), "LayoutRefused: "),
        (("--copies", "2", "--zone-copies-max", "1"), "LayoutRefused: "),
    ],
)
def test_what_cannot_be_ends_with_1(four: LayoutCluster, words: tuple[str, ...], said: str) -> None:
    """An unknown node, more copies than nodes, fewer zones than wanted: the cluster says no."""
    answer = say("layout", "plan", *words)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert said in answer.stderr


def test_a_change_is_the_same_in_options() -> None:
    """All that can be said is said again."""
    change = LayoutChange([RoleWanted(4, "b", 7), RoleWanted(5, "")], 2, 1)
    assert as_options(change) == (
        "--node 4,zone=b,capacity=7 --node 5,zone= --copies 2 --zone-copies-max 1"
    )
    assert as_options(LayoutChange()) == ""


def _interrupt(seconds: float) -> None:
    raise KeyboardInterrupt
