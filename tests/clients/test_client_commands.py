"""Command lines that people point at an S3 endpoint, run as they run them."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_client_programs import CLIENTS, miss, needs

from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY

Run = Callable[..., str]


def on_path(name: str) -> str:
    """The command of this name, or a skip that says how to get it."""
    found = shutil.which(name, path="/usr/bin:/usr/local/bin")
    if found is None:
        miss(name)
    return found


def make_tree(folder: Path) -> Path:
    """A folder with files small, large, empty and awkwardly named."""
    source = folder / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "small.txt").write_text("hello\n")
    (source / "empty").write_bytes(b"")
    (source / "deep" / "er" / "with space + plus & ünïcode.bin").write_bytes(os.urandom(70_000))
    (source / "large.bin").write_bytes(os.urandom(18 << 20))
    return source


def same_trees(one: Path, other: Path) -> bool:
    """Whether both folders hold the same files with the same bytes."""

    def contents(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    return contents(one) == contents(other)


def aws_commands(endpoint, run: Run, aws: str | Path) -> None:
    """What both generations of the AWS CLI must do."""
    source, back = make_tree(endpoint.scratch), endpoint.scratch / "back"
    url = f"s3://{endpoint.bucket}/tree"
    base = (aws, "--endpoint-url", endpoint.node.url)
    run(*base, "s3", "cp", "--recursive", "--only-show-errors", source, url)
    run(*base, "s3", "sync", "--only-show-errors", url, back)
    assert same_trees(source, back)
    listed = run(*base, "s3", "ls", "--recursive", f"s3://{endpoint.bucket}/")
    assert len(listed.splitlines()) == 4
    run(*base, "s3", "mv", "--only-show-errors", f"{url}/small.txt", f"{url}/moved.txt")
    assert "hello" in run(*base, "s3", "cp", f"{url}/moved.txt", "-")
    signed = run(*base, "s3", "presign", f"{url}/moved.txt").strip()
    fetched = run("curl", "-sS", "--fail", signed)
    assert fetched == "hello\n"
    run(*base, "s3", "rb", "--force", f"s3://{endpoint.bucket}")


def test_aws_cli_v1_copies_syncs_presigns_and_removes(endpoint, run: Run) -> None:
    """AWS CLI v1, newest, from pip."""
    aws_commands(endpoint, run, needs(CLIENTS / "aws"))


def test_aws_cli_v2_copies_syncs_presigns_and_removes(endpoint, run: Run) -> None:
    """AWS CLI v2, as Debian ships it."""
    aws = on_path("aws")
    if (
        "aws-cli/2"
        not in subprocess.run([aws, "--version"], capture_output=True, text=True, check=True).stdout
    ):
        miss("AWS CLI version 2")
    aws_commands(endpoint, run, aws)


def rclone_commands(endpoint, run: Run, rclone: str | Path) -> None:
    """What both generations of rclone must do."""
    source, back = make_tree(endpoint.scratch), endpoint.scratch / "back"
    trust = ("--ca-cert", str(endpoint.node.authority)) if endpoint.node.authority else ()
    remote = {
        "RCLONE_CONFIG_M_TYPE": "s3",
        "RCLONE_CONFIG_M_PROVIDER": "Other",
        "RCLONE_CONFIG_M_ENDPOINT": endpoint.node.url,
        "RCLONE_CONFIG_M_ACCESS_KEY_ID": ACCESS_KEY,
        "RCLONE_CONFIG_M_SECRET_ACCESS_KEY": SECRET_KEY,
        "RCLONE_CONFIG_M_REGION": REGION,
        "AWS_CA_BUNDLE": "",
    }
    target = f"m:{endpoint.bucket}/tree"
    base = (rclone, *trust, "--retries", "1", "--low-level-retries", "1")
    run(
        *base, "copy", source, target, "--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M", **remote
    )
    run(*base, "check", source, target, **remote)
    run(*base, "copy", target, back, **remote)
    assert same_trees(source, back)
    run(*base, "purge", f"m:{endpoint.bucket}", **remote)


def test_rclone_from_pip_copies_and_checks(endpoint, run: Run) -> None:
    """rclone 1.75 or newer."""
    rclone_commands(endpoint, run, needs(CLIENTS / "rclone"))


def test_rclone_from_debian_copies_and_checks(endpoint, run: Run) -> None:
    """rclone 1.60, whose requests differ from the newest one's."""
    rclone_commands(endpoint, run, on_path("rclone"))


def test_s3cmd_puts_gets_syncs_and_deletes(endpoint, run: Run) -> None:
    """s3cmd with 15 MB parts."""
    s3cmd = needs(CLIENTS / "s3cmd")
    source, back = make_tree(endpoint.scratch), endpoint.scratch / "back"
    back.mkdir()
    config = endpoint.scratch / "s3cfg"
    secure = endpoint.node.scheme == "https"
    config.write_text(
        f"[default]\naccess_key = {ACCESS_KEY}\nsecret_key = {SECRET_KEY}\n"
        f"host_base = {endpoint.node.host}\nhost_bucket = {endpoint.node.host}/%(bucket)\n"
        f"use_https = {secure}\nca_certs_file = {endpoint.node.authority or ''}\n"
        "bucket_location = us-east-1\n"
    )
    base = (s3cmd, "-c", config, "--no-progress")
    run(*base, "sync", f"{source}/", f"s3://{endpoint.bucket}/tree/")
    run(*base, "sync", f"s3://{endpoint.bucket}/tree/", f"{back}/")
    assert same_trees(source, back)
    assert "large.bin" in run(*base, "ls", "--recursive", f"s3://{endpoint.bucket}")
    run(*base, "del", "--recursive", "--force", f"s3://{endpoint.bucket}/")
    run(*base, "rb", f"s3://{endpoint.bucket}")


def test_restic_inits_backs_up_checks_and_restores(endpoint, run: Run) -> None:
    """restic keeps a repository in a bucket and gives everything back."""
    restic = on_path("restic")
    source, back = make_tree(endpoint.scratch), endpoint.scratch / "back"
    trust = ("--cacert", str(endpoint.node.authority)) if endpoint.node.authority else ()
    base = (restic, *trust, "-r", f"s3:{endpoint.node.url}/{endpoint.bucket}/repo")
    secret = {"RESTIC_PASSWORD": "only a test"}
    run(*base, "init", **secret)
    run(*base, "backup", source, **secret)
    run(*base, "check", "--read-data", **secret)
    run(*base, "restore", "latest", "--target", back, **secret)
    assert same_trees(source, back / source.relative_to("/"))


def test_s3fs_fuse_mounts_a_bucket(endpoint, run: Run) -> None:
    """s3fs-fuse: files written through the mount are objects, and read back."""
    s3fs = on_path("s3fs")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("s3fs-fuse: no /dev/fuse on this machine")
    mount, password = endpoint.scratch / "mount", endpoint.scratch / "password"
    mount.mkdir()
    password.write_text(f"{ACCESS_KEY}:{SECRET_KEY}")
    password.chmod(0o600)
    run(
        s3fs,
        endpoint.bucket,
        mount,
        "-o",
        f"url={endpoint.node.url}",
        "-o",
        "use_path_request_style",
        "-o",
        f"passwd_file={password}",
        "-o",
        "retries=1",
        *(("-o", "no_check_certificate") if endpoint.node.authority else ()),
    )
    wait_mounted(mount)
    try:
        body = os.urandom(12 << 20)
        (mount / "folder").mkdir()
        (mount / "folder" / "file.bin").write_bytes(body)
        (mount / "hello.txt").write_text("hello")
        assert (mount / "folder" / "file.bin").read_bytes() == body
        os.rename(mount / "hello.txt", mount / "renamed.txt")
        assert sorted(os.listdir(mount)) == ["folder", "renamed.txt"]
        assert (mount / "renamed.txt").read_text() == "hello"
    finally:
        run("fusermount3" if shutil.which("fusermount3") else "fusermount", "-u", mount)


def wait_mounted(mount: Path) -> None:
    """Returns once the mount is there; s3fs goes to the background before it is."""
    deadline = time.monotonic() + 20
    while not os.path.ismount(mount):
        assert time.monotonic() < deadline, "s3fs did not mount"
        time.sleep(0.05)
