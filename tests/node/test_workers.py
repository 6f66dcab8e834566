"""Workers as processes: what dies, hangs or leaves costs its own connections and nothing else."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
import trio
from botocore.exceptions import ClientError
from loaded_node import (
    SECONDS_MAX,
    ctl,
    figures,
    is_alive,
    loaded,
    send,
    until_answers,
    until_replaced,
    workers_of,
)
from node_clients import s3_of

from rs3gwd.testing.http_client import HttpClient
from rs3gwd.testing.node_process import NodeProcess

Start = Callable[..., NodeProcess]

TWO = {"RS3GW_WORKERS": "2"}
IMPATIENT = {**TWO, "RS3GW_WORKER_PATIENCE": "2"}


async def test_a_killed_worker_costs_its_own_connections_only(start_node: Start) -> None:
    """SIGKILL under load: others go on, it is replaced, whatever was acknowledged is there."""
    node = start_node(environ=TWO)
    async with loaded(node) as load:
        victim = (await workers_of(node))[0]
        send(victim["pid"], signal.SIGKILL)
        found = await until_replaced(node, victim["number"])
        await until_answers(load, 200)
        assert {each["place"]: each["restarts"] for each in found} == {0: 1, 1: 0}
        assert len(load.lost) <= 8
        assert not [lost for lost in load.lost if "failed" in lost], "a connection was refused"
        assert load.unexpected == []
    await load.assert_all_there()
    assert '"end":"SIGKILL"' in node.log.read_text()


async def test_a_worker_that_hangs_is_noticed_and_replaced(start_node: Start) -> None:
    """SIGSTOP under load: after its patience the core kills it, and the other one never stops."""
    node = start_node(environ=IMPATIENT)
    async with loaded(node) as load:
        victim = (await workers_of(node))[1]
        send(victim["pid"], signal.SIGSTOP)
        await until_replaced(node, victim["number"])
        await until_answers(load, 200)
        assert load.unexpected == []
        assert (await figures(node))['rs3gw_worker_ends_total{reason="hung"}'] == 1
    await load.assert_all_there()
    assert not is_alive(victim["pid"])


async def test_a_stopped_core_does_not_find_its_workers_silent(start_node: Start) -> None:
    """SIGSTOP of the core for longer than the patience: nobody is replaced when it goes on."""
    node = start_node(environ={**TWO, "RS3GW_WORKER_PATIENCE": "4"})
    before = [each["number"] for each in await workers_of(node)]
    send(node.pid, signal.SIGSTOP)
    await trio.sleep(6)
    send(node.pid, signal.SIGCONT)
    s3_of(node).create_bucket(Bucket="later")
    await trio.sleep(1)
    assert [each["number"] for each in await workers_of(node)] == before


async def test_workers_end_with_their_core(start_node: Start) -> None:
    """SIGKILL of the core, with a hanging worker too: all end at once, and the store recovers."""
    node = start_node(environ=TWO)
    async with loaded(node) as load:
        pids = node.pids
        send(node.worker_pids[0], signal.SIGSTOP)
        node.kill()
        # The next core waits until the last of them is gone, for two cannot write to one store.
        await trio.to_thread.run_sync(node.start)
        assert [pid for pid in pids if is_alive(pid)] == []
        await until_answers(load, 100)
    await load.assert_all_there()
    assert node.stop() == 0
    ctl_check(node)


def ctl_check(node: NodeProcess) -> None:
    """The store of a stopped node is whole."""
    assert ctl(node, "check")["findings"] == []


async def test_a_rolling_restart_cuts_nothing(start_node: Start) -> None:
    """Under load of keep-alive clients: every worker is new, no request failed or was refused."""
    node = start_node(environ=TWO)
    before = {each["number"] for each in await workers_of(node)}
    async with loaded(node) as load:
        after = await trio.to_thread.run_sync(ctl, node, "workers", "restart")
        await until_answers(load, 200)
        assert (load.lost, load.unexpected) == ([], [])
    assert before.isdisjoint(each["number"] for each in after)
    assert [each["restarts"] for each in after] == [1, 1]
    await load.assert_all_there()
    log = node.log.read_text()
    assert log.count('"event":"worker stopped"') == 2
    assert '"connections_cut":1' not in log


async def test_sighup_replaces_the_workers(start_node: Start) -> None:
    """The signal of a reload does what `rs3gwctl workers restart` does."""
    node = start_node(environ=TWO)
    last = max(each["number"] for each in await workers_of(node))
    send(node.pid, signal.SIGHUP)
    with trio.fail_after(SECONDS_MAX):
        while True:
            found = await workers_of(node)
            if len(found) == 2 and min(each["number"] for each in found) > last:
                break
            await trio.sleep(0.1)
    assert s3_of(node).list_buckets()["Buckets"] == []


async def test_figures_are_those_of_one_node_and_never_go_down(start_node: Start) -> None:
    """Every worker answers with the sum; what a killed one had counted stays counted."""
    node = start_node(environ=TWO)
    async with HttpClient(node.port) as client:
        assert (await client.request("PUT", b"/bucket")).status == 200
    for number in range(40):
        async with HttpClient(node.port) as client:
            answer = await client.request("PUT", b"/bucket/%d" % number, body=b"x" * 1000)
            assert answer.status == 200
    name = 'rs3gw_requests_total{operation="PutObject",status="2xx"}'
    scrapes = [await figures(node) for _ in range(12)]
    assert {scrape[name] for scrape in scrapes} == {40}
    assert {scrape["rs3gw_workers"] for scrape in scrapes} == {2}
    listed = await workers_of(node)
    assert min(each["requests"] for each in listed) > 0, "only one worker got requests"
    send(listed[0]["pid"], signal.SIGKILL)
    await until_replaced(node, listed[0]["number"])
    last = scrapes[-1]
    after = await figures(node)
    down = {
        key: (value, after.get(key))
        for key, value in last.items()
        if ("_total" in key or "_bucket" in key or "_count" in key or "_sum" in key)
        and after.get(key, 0) < value
    }
    assert down == {}
    assert after[name] == 40
    assert after['rs3gw_worker_ends_total{reason="died"}'] == 1


def test_a_revoked_key_is_refused_by_every_worker_at_once(start_node: Start) -> None:
    """When the admin call has returned no connection to any worker accepts the key."""
    node = start_node(environ=TWO)
    made = ctl(node, "account", "create", "guest")
    key, secret = made["keys"][0]["access_key_id"], made["keys"][0]["secret"]
    clients = [s3_of(node, key, secret) for _ in range(8)]
    for client in clients:
        client.list_buckets()
    assert min(each["requests"] for each in ctl(node, "workers", "list")) > 0
    for _ in range(3):
        set_key(node, "disable", key)
        for client in clients:
            with pytest.raises(ClientError, match="InvalidAccessKeyId"):
                client.list_buckets()
        set_key(node, "enable", key)
        for client in clients:
            client.list_buckets()


def set_key(node: NodeProcess, command: str, key: str) -> None:
    """Disables or enables an access key by `rs3gwctl`; returns when that has returned."""
    words = ["-m", "tools.rs3gwctl.main", "--data", str(node.data), "account", "key", command, key]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)


async def test_every_log_line_is_whole_and_says_which_worker_it_is_of(start_node: Start) -> None:
    """With requests of long names on all workers each line of the log is one JSON object."""
    node = start_node(environ=TWO)

    async def ask(number: int) -> None:
        async with HttpClient(node.port) as client:
            for count in range(40):
                await client.request(
                    "GET", b"/bucket/" + b"\xff" * 900 + b"%d-%d" % (number, count)
                )

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(ask, number)
    assert node.stop() == 0
    lines = [json.loads(line) for line in node.log.read_text().splitlines()]
    access = [line for line in lines if line["event"] == "access"]
    assert len(access) == 320
    assert {line["worker"] for line in access} == {1, 2}


def test_a_node_without_workers_is_one_process(start_node: Start) -> None:
    """With workers = 0 there is no other process, and `workers` says so."""
    node = start_node(environ={"RS3GW_WORKERS": "0"})
    assert node.worker_pids == []
    s3_of(node).create_bucket(Bucket="alone")
    assert ctl(node, "status")["connections_total"] > 0
    with pytest.raises(AssertionError, match="no daemon with workers"):
        ctl(node, "workers", "list")
    send(node.pid, signal.SIGHUP)
    assert s3_of(node).list_buckets()["Buckets"][0]["Name"] == "alone"


def test_a_port_that_is_taken_is_refused_as_ever(start_node: Start) -> None:
    """A daemon with workers does not join another one's port, and leaves no process behind."""
    node = start_node(environ=TWO)
    other = NodeProcess(
        node.data.with_name("other"), environ={**TWO, "RS3GW_BIND_ADDR": f"127.0.0.1:{node.port}"}
    )
    other.start(wait=False)
    other_pid = other.pid
    assert other.wait_exit() == 1
    assert "in use" in other.tail()
    assert not is_alive(other_pid)
    assert s3_of(node).list_buckets()["Buckets"] == []
