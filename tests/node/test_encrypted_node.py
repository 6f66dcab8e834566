"""Encryption at rest on a running node with two workers: kinds, restarts, rotation, lost keys."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import trustme
from botocore.config import Config
from botocore.exceptions import ClientError
from node_clients import ONE_AND_THREE, ONE_AND_THREE_LONG, s3_of

from rs3gwd.testing.fake_vault import TOKEN, FakeVault
from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess

Start = Callable[..., NodeProcess]

TWO = {"RS3GW_WORKERS": "2"}
READS = 8
"""Connections per object: with two workers, all on one of them is one chance in 128."""

MARK = b"a secret that no disk should see "
KINDS: list[dict[str, Any]] = [
    {"ServerSideEncryption": "AES256"},
    {"ServerSideEncryption": "aws:kms"},
    {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/photos"},
    {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/photos", "BucketKeyEnabled": True},
]


def kms(node: NodeProcess, *command: str) -> Any:
    """What `rs3gwctl kms` answers. Raises AssertionError with what it said when it failed."""
    done = run_kms(node.data, *command)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run_kms(data: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """`rs3gwctl kms` on a data directory."""
    return subprocess.run(
        [sys.executable, "-m", "tools.rs3gwctl.main", "--json", "--data", data, "kms", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def read_everywhere(node: NodeProcess, key: str) -> set[bytes]:
    """What some connections of their own get for an object: the workers share them."""
    return {s3_of(node).get_object(Bucket="bucket", Key=key)["Body"].read() for _ in range(READS)}


def put_all_kinds(node: NodeProcess) -> dict[str, bytes]:
    """An object of each kind, and one in parts; key to body."""
    s3 = s3_of(node)
    s3.create_bucket(Bucket="bucket")
    kms(node, "key", "create", "photos")
    bodies = {}
    for number, kind in enumerate(KINDS):
        bodies[f"k{number}"] = body = MARK * (3000 * number + 1)
        s3.put_object(Bucket="bucket", Key=f"k{number}", Body=body, **kind)
    upload = s3.create_multipart_upload(Bucket="bucket", Key="parts", **KINDS[3])["UploadId"]
    parts, pieces = [], [MARK * 170_000, MARK]
    for number, piece in enumerate(pieces, 1):
        etag = s3.upload_part(
            Bucket="bucket", Key="parts", UploadId=upload, PartNumber=number, Body=piece
        )["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    s3.complete_multipart_upload(
        Bucket="bucket", Key="parts", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    return {**bodies, "parts": b"".join(pieces)}


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> str:
    """The S3 code of an error."""
    code: str = caught.value.response["Error"]["Code"]
    return code


def files_with(folder: Path, text: bytes) -> list[Path]:
    """The files below a folder that hold some bytes."""
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def digests(folder: Path) -> dict[str, str]:
    """What the files of a folder hold, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@ONE_AND_THREE
@pytest.mark.parametrize("algorithm", ["AES256-GCM", "ChaCha20-Poly1305"])
def test_every_kind_is_read_by_every_worker_and_after_a_kill(
    start_node: Start, algorithm: str
) -> None:
    """SSE-S3 and SSE-KMS, whole and in parts; nothing of them is on the disk in clear."""
    environ = {**TWO, "RS3GW_ENCRYPTION_ALGORITHM": algorithm}
    node = start_node(environ=environ)
    bodies = put_all_kinds(node)
    for key, body in bodies.items():
        assert read_everywhere(node, key) == {body}
    node.kill()
    node.start()
    for key, body in bodies.items():
        assert read_everywhere(node, key) == {body}
    got = s3_of(node).get_object(Bucket="bucket", Key="parts", Range="bytes=5600000-5610010")
    assert got["Body"].read() == bodies["parts"][5_600_000:5_610_011]
    node.stop()
    assert files_with(node.data.parent, MARK[:16]) == []
    if isinstance(node, NodeProcess):
        assert (node.data / "master.key").stat().st_mode & 0o777 == 0o600


def test_a_plain_object_would_be_found_on_the_disk(start_node: Start) -> None:
    """The search for plaintext finds it where nothing is encrypted."""
    node = start_node(environ=TWO)
    s3_of(node).create_bucket(Bucket="bucket")
    s3_of(node).put_object(Bucket="bucket", Key="k", Body=MARK * 9000)
    node.stop()
    assert files_with(node.data, MARK[:16])


@ONE_AND_THREE
def test_callers_keys_over_tls(start_node: Start, tmp_path: Path) -> None:
    """SSE-C: only with its key, on every worker, and after a restart."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key, trusted = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(trusted))
    node = start_node(environ=TWO, certificate=certificate, key=key, authority=trusted)

    def client() -> Any:
        return boto3.client(
            "s3",
            endpoint_url=node.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
            verify=str(trusted),
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    secret = os.urandom(32)
    mine = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": secret}
    client().create_bucket(Bucket="bucket")
    client().put_object(Bucket="bucket", Key="k", Body=MARK * 5000, **mine)
    for _ in range(2):
        for _ in range(READS):
            got = client().get_object(Bucket="bucket", Key="k", **mine)["Body"].read()
            assert got == MARK * 5000
        other = {**mine, "SSECustomerKey": os.urandom(32)}
        for wrong, code in ((other, "AccessDenied"), ({}, "InvalidRequest")):
            with pytest.raises(ClientError) as caught:
                client().get_object(Bucket="bucket", Key="k", **wrong)
            assert code_of(caught) == code
        node.stop()
        node.start()
    node.stop()
    assert files_with(node.data.parent, MARK[:16]) == []
    assert files_with(node.data.parent, secret) == []


@ONE_AND_THREE
def test_a_disabled_key_keeps_its_objects_closed_at_once(start_node: Start) -> None:
    """Once the answer is there no worker opens or writes with it; enabled, all is back."""
    node = start_node(environ=TWO)
    bodies = put_all_kinds(node)
    assert kms(node, "key", "disable", "photos")[0]["state"] == "Disabled"
    for _ in range(READS):
        with pytest.raises(ClientError) as caught:
            s3_of(node).get_object(Bucket="bucket", Key="k2")
        assert code_of(caught) == "KMS.DisabledException"
        with pytest.raises(ClientError) as caught:
            s3_of(node).put_object(Bucket="bucket", Key="new", Body=b"x", **KINDS[2])
        assert code_of(caught) == "KMS.DisabledException"
    assert read_everywhere(node, "k1") == {bodies["k1"]}
    kms(node, "key", "enable", "photos")
    assert read_everywhere(node, "k2") == {bodies["k2"]}


@ONE_AND_THREE_LONG
def test_keys_are_rotated_under_load(start_node: Start) -> None:
    """Reads and writes of three clients go on through twenty rotations; all versions open."""
    node = start_node(environ=TWO)
    bodies = put_all_kinds(node)
    done = threading.Event()
    failures: list[str] = []
    written: list[str] = []

    def work(name: str) -> None:
        s3, number = s3_of(node), 0
        while not done.is_set():
            key, number = f"{name}-{number}", number + 1
            try:
                s3.put_object(Bucket="bucket", Key=key, Body=key.encode(), **KINDS[number % 4])
                got = s3.get_object(Bucket="bucket", Key=key)["Body"].read()
            except ClientError as error:
                failures.append(str(error))
                return
            if got != key.encode():
                failures.append(f"{key} is {got!r}")
            written.append(key)

    workers = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(10):
        kms(node, "key", "rotate", "photos")
        kms(node, "key", "rotate", "rs3gw/sse-s3")
    done.set()
    for worker in workers:
        worker.join()
    assert failures == []
    assert len(written) > 20
    versions = {each["name"]: each["versions"] for each in kms(node, "key", "list")}
    assert versions == {"aws/s3": 1, "photos": 11, "rs3gw/secrets": 1, "rs3gw/sse-s3": 11}
    node.kill()
    node.start()
    s3 = s3_of(node)
    for key in written:
        assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == key.encode()
    for key, body in bodies.items():
        assert read_everywhere(node, key) == {body}


def test_data_keys_follow_a_rotation_without_their_objects(start_node: Start) -> None:
    """`kms rewrap` exchanges those under older versions, once, and writes no byte of an object."""
    node = start_node(environ=TWO)
    bodies = put_all_kinds(node)
    assert kms(node, "rewrap")["rewrap_done"] == 0
    kms(node, "key", "rotate", "photos")
    kms(node, "key", "rotate", "rs3gw/sse-s3")
    before = digests(node.data / "segments")
    figures = kms(node, "rewrap")
    assert (figures["rewrap_seen"], figures["rewrap_done"], figures["rewrap_failed"]) == (5, 4, 0)
    assert digests(node.data / "segments") == before
    assert kms(node, "rewrap")["rewrap_done"] == 0
    for key, body in bodies.items():
        assert read_everywhere(node, key) == {body}
    kms(node, "key", "rotate", "photos")
    kms(node, "key", "disable", "photos")
    done = run_kms(node.data, "rewrap")
    assert done.returncode == 1
    assert json.loads(done.stdout)["rewrap_failed"] == 3
    kms(node, "key", "enable", "photos")
    node.kill()
    node.start()
    assert kms(node, "rewrap")["rewrap_done"] == 3
    for key, body in bodies.items():
        assert read_everywhere(node, key) == {body}


def test_a_node_without_its_master_key_does_not_start(start_node: Start) -> None:
    """Another key, or none: a line that says so, exit status 1; with the right one all is back."""
    node = start_node(environ=TWO)
    bodies = put_all_kinds(node)
    fingerprint = kms(node, "status")["master_key_id"]
    node.stop()
    path = node.data / "master.key"
    right = path.read_text()
    path.unlink()
    node.start(wait=False)
    assert node.wait_exit() == 1
    assert "the master key" in node.tail(3)
    assert "is missing" in node.tail(3)
    path.write_text("ab" * 31 + "cd")
    path.chmod(0o600)
    node.start(wait=False)
    assert node.wait_exit() == 1
    assert "sealed with another master key" in node.tail(3)
    assert fingerprint in node.tail(3)
    path.write_text(right)
    node.start()
    assert read_everywhere(node, "k0") == {bodies["k0"]}


def test_a_master_key_is_replaced_by_another(start_node: Start, tmp_path: Path) -> None:
    """At one start, from a file to a file; the old key opens nothing from then on."""
    node = start_node(environ=TWO)
    bodies = put_all_kinds(node)
    kms(node, "key", "rotate", "photos")
    node.stop()
    old, new = node.data / "master.key", tmp_path / "new.key"
    new.write_text(os.urandom(32).hex())
    new.chmod(0o600)
    moved = {**TWO, "RS3GW_MASTER_KEY_FILE": str(new)}
    replacing = {**moved, "RS3GW_PREVIOUS_MASTER_KEY_FILE": str(old)}
    for environ in (replacing, replacing, moved):
        other = start_node(data=node.data, environ=environ)
        for key, body in bodies.items():
            assert read_everywhere(other, key) == {body}
        assert kms(other, "status")["master_key"] == str(new)
        other.stop()
    assert '"event":"master key replaced","versions":5' in other.log.read_text()
    node.start(wait=False)
    assert node.wait_exit() == 1
    assert "sealed with another master key" in node.tail(3)


def test_the_master_key_stays_in_vault(start_node: Start, tmp_path: Path) -> None:
    """Encrypted with a Vault, which may be gone until the next start."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with FakeVault() as vault:
        environ = {
            **TWO,
            "RS3GW_MASTER_KEY_SOURCE": "vault",
            "RS3GW_VAULT_ADDRESS": vault.address,
            "RS3GW_VAULT_TOKEN_FILE": str(token),
            "RS3GW_VAULT_KEY": vault.name,
        }
        node = start_node(environ=environ)
        bodies = put_all_kinds(node)
        for key, body in bodies.items():
            assert read_everywhere(node, key) == {body}
        asked = len(vault.asked)
        vault.sealed = True
        assert read_everywhere(node, "k3") == {bodies["k3"]}
        assert len(vault.asked) == asked
        node.stop()
        node.start(wait=False)
        assert node.wait_exit() == 1
        assert "Vault is sealed" in node.tail(3)
        vault.sealed = False
        node.start()
        assert read_everywhere(node, "parts") == {bodies["parts"]}
        node.stop()
    assert not (node.data / "master.key").exists()


def test_kms_without_a_daemon_says_that_it_needs_one(start_node: Start) -> None:
    """Keys are opened by the daemon alone."""
    node = start_node(environ=TWO)
    node.stop()
    done = run_kms(node.data, "key", "list")
    assert done.returncode == 1
    assert "start it" in done.stderr
