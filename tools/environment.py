"""Make the project's virtual environment: `python3 tools/environment.py {demo,dev} [--venv DIR]`.

Standard library only, because it runs before anything is installed. What takes minutes, building
llama-cpp-python from source, is done once per machine and user: the wheel is kept in
`$XDG_CACHE_HOME/aiosd/wheels` and reused by every other checkout.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 11)
NEWEST_TFLITE_PYTHON = (3, 11)
LLAMA = "llama-cpp-python==0.3.36"

# What we do not use of llama.cpp: multimodal, tools, examples, tests, server, downloads.
LLAMA_FLAGS = " ".join(
    f"-D{name}=OFF"
    for name in (
        "LLAVA_BUILD",
        "LLAMA_BUILD_TOOLS",
        "LLAMA_BUILD_EXAMPLES",
        "LLAMA_BUILD_TESTS",
        "LLAMA_BUILD_SERVER",
        "LLAMA_CURL",
        "LLAMA_OPENSSL",
    )
)
STEP = re.compile(r"\[(\d+)/(\d+)\]")
COMPILER_HELP = """\
A C++ compiler is needed to build llama-cpp-python, and there is none (looked for: {names}).
On Debian, Ubuntu and Raspberry Pi OS:  sudo apt install build-essential"""
VENV_HELP = """\
Python's venv module is missing.
On Debian, Ubuntu and Raspberry Pi OS:  sudo apt install python3-venv"""


def main() -> int:
    """Bring the environment up to what the arguments ask for; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["demo", "dev"])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    options = parser.parse_args()
    if sys.version_info < OLDEST_PYTHON:
        return fail("aiosd needs Python 3.11 or later; this is " + platform.python_version())
    if sys.maxsize < 2**32:
        return fail(
            "this Python is 32-bit; aiosd needs a 64-bit system (wheels exist for no other)"
        )
    return make(options.kind, options.venv)


def make(kind: str, venv: Path) -> int:
    """Create or complete the environment; a second call costs nothing."""
    stamp = venv / f".aiosd-{kind}"
    wanted = fingerprint()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return 0
    python = venv / "bin" / "python"
    if not python.exists():
        say(f"making {venv}")
        made = subprocess.run([sys.executable, "-m", "venv", str(venv)], check=False)
        if made.returncode:
            return fail(VENV_HELP)
    wheel = llama_wheel(python)
    if wheel is None:
        return 1
    extras = ["litert", "llama", "image"]
    if kind == "dev":
        extras += ["uplink", "update", "publish", "dev"]
        if sys.version_info[:2] <= NEWEST_TFLITE_PYTHON:
            extras.append("tflite")
    say(f"installing aiosd with {', '.join(extras)}")
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, str(wheel), "-e", f"{ROOT}[{','.join(extras)}]"], check=False, cwd=ROOT
    )
    if done.returncode:
        return fail("pip could not install the packages above; is the package index reachable?")
    stamp.write_text(wanted, encoding="utf-8")
    return 0


def llama_wheel(python: Path) -> Path | None:
    """Return the wheel of llama-cpp-python for this machine, building it if there is none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "aiosd" / "wheels"
    folder = cache / build_key()
    for wheel in folder.glob("llama_cpp_python-*.whl"):
        return wheel
    names = [os.environ.get("CXX", "c++"), "g++", "clang++"]
    if not any(shutil.which(name) for name in names):
        fail(COMPILER_HELP.format(names=", ".join(names)))
        return None
    say(f"building {LLAMA} from source: minutes, once for this machine (kept in {folder})")
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "build.log"
    if not build(python, folder, log):
        fail(f"llama-cpp-python could not be built; the end of {log}:")
        print("".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[-20:]))
        return None
    return next(folder.glob("llama_cpp_python-*.whl"), None)


def build(python: Path, folder: Path, log: Path) -> bool:
    """Build the wheel into `folder`, showing how far it is."""
    flags = " ".join(filter(None, [LLAMA_FLAGS, os.environ.get("CMAKE_ARGS", "")]))
    command = [str(python), "-m", "pip", "wheel", "--verbose", "--no-deps", "--wheel-dir"]
    start, shown = time.monotonic(), 0.0
    with (
        log.open("w", encoding="utf-8") as kept,
        subprocess.Popen(
            [*command, str(folder), LLAMA],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "CMAKE_ARGS": flags},
        ) as process,
    ):
        for line in process.stdout or ():
            kept.write(line)
            found = STEP.search(line)
            now = time.monotonic()
            if found and now - shown > (0.5 if sys.stdout.isatty() else 30):
                shown = now
                progress(f"compiled {found[1]} of {found[2]} files, {now - start:.0f} s")
    if sys.stdout.isatty():
        print()
    return process.returncode == 0


def build_key() -> str:
    """Return a name for what the wheel depends on: versions, flags, processor features."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    isa = sorted({line for line in lines if line.startswith(("flags", "Features"))})
    parts = [LLAMA, LLAMA_FLAGS, os.environ.get("CMAKE_ARGS", ""), platform.machine(), *isa]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    return f"llama-{LLAMA.rpartition('=')[2]}-{platform.machine()}-{digest}"


def fingerprint() -> str:
    """Return what the installed set depends on."""
    content = (ROOT / "pyproject.toml").read_bytes() + Path(__file__).read_bytes()
    return f"{ROOT} {platform.python_version()} {hashlib.sha256(content).hexdigest()}\n"


def say(text: str) -> None:
    """Tell what is being done."""
    print(f"· {text}", flush=True)


def progress(text: str) -> None:
    """Tell how far it is: in place on a terminal, line by line in a pipe."""
    end = "\r" if sys.stdout.isatty() else "\n"
    print(f"  {text}   ", end=end, flush=True)


def fail(text: str) -> int:
    """Say what is missing and how to get it; return the exit status."""
    print(text, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
