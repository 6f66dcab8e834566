"""Builds the programs in load/ with the machine's C compiler, once for each state of the sources.

They lie in a cache folder under a name that is a hash of sources, flags and compiler, so that a
changed source is a new program and two runs at once never see half of one. OpenSSL is used where
its headers are; without them the generator speaks plain TCP only.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "load"
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")
LOAD_SOURCES = ("load.c", "run.c", "answer.c", "requests.c", "histogram.c", "stream.c")
RESPONDER_SOURCES = ("responder.c",)
TLS_PROBE = "#include <openssl/ssl.h>\nint main(void) { return SSL_CTX_new(TLS_method()) == 0; }\n"
TLS_FLAGS, TLS_LIBRARIES = ("-DWITH_TLS",), ("-lssl", "-lcrypto")


class CompilerError(Exception):
    """There is no compiler, or it refused; the message says what to do."""


@dataclass(frozen=True)
class Programs:
    """The programs, ready to run. `has_tls`: the generator was built with OpenSSL."""

    load: Path
    responder: Path
    has_tls: bool


def find_compiler() -> str | None:
    """The C compiler: $CC, or `cc`, or `gcc`; None where there is none."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and (path := shutil.which(name)):
            return path
    return None


def build(folder: Path | None = None) -> Programs:
    """Builds what is not there yet. Raises CompilerError."""
    compiler = find_compiler()
    if compiler is None:
        raise CompilerError("the load generator is in C and there is no compiler: apt install gcc")
    folder = folder or _cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    has_tls = _links(compiler, TLS_PROBE, TLS_LIBRARIES)
    tls_flags = TLS_FLAGS if has_tls else ()
    libraries = ("-lm", *(TLS_LIBRARIES if has_tls else ()))
    return Programs(
        load=_build(compiler, folder, "load", LOAD_SOURCES, tls_flags, libraries),
        responder=_build(compiler, folder, "responder", RESPONDER_SOURCES, (), ()),
        has_tls=has_tls,
    )


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rs3gw-bench"


def _build(
    compiler: str,
    folder: Path,
    name: str,
    sources: Sequence[str],
    flags: Sequence[str],
    libraries: Sequence[str],
) -> Path:
    command = [compiler, *FLAGS, *flags, *(str(SOURCES / source) for source in sources)]
    state = hashlib.sha256(" ".join([*command, *libraries]).encode())
    for path in sorted(SOURCES.glob("*.[ch]")):
        state.update(path.read_bytes())
    program = folder / f"{name}-{state.hexdigest()[:16]}"
    if not program.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / name
            _compile([*command, "-o", str(made), *libraries])
            made.rename(program)
    return program


def _compile(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompilerError(f"'{' '.join(command)}' failed:\n{done.stderr}")


def _links(compiler: str, source: str, libraries: Sequence[str]) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "probe.c"
        path.write_text(source)
        command = [compiler, str(path), "-o", str(path.with_suffix("")), *libraries]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
