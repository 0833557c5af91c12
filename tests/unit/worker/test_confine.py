"""The walls, built in real processes and run against."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from aiosd.worker import landlock
from aiosd.worker.confine import enter_groups, open_entrances
from aiosd.worker.seccomp import ARCHITECTURES

pytestmark = pytest.mark.process

PREAMBLE = """
import ctypes, errno, json, os, socket, subprocess, sys, threading
from pathlib import Path
import msgspec
from aiosd.worker.confine import confine_after_load, confine_at_start, die_with_parent

answers = {}

def attempt(name, do):
    try:
        do()
        answers[name] = "done"
    except OSError as error:
        answers[name] = errno.errorcode[error.errno]

def finish(confinement):
    answers["walls"] = msgspec.to_builtins(confinement)
    print(json.dumps(answers), flush=True)
    sys.exit(0)
"""

needs_seccomp = pytest.mark.skipif(
    platform.machine() not in ARCHITECTURES, reason="the filter is written for 64-bit x86 and ARM"
)
needs_landlock = pytest.mark.skipif(
    not landlock.version(), reason="this kernel has no Landlock, or it is switched off"
)


def run(repo: Path, code: str, *arguments: str | Path) -> dict[str, Any]:
    """Run `code` after the preamble in a fresh interpreter; return what it reports."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PREAMBLE + dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(repo)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


@needs_seccomp
def test_after_loading_there_is_no_network_no_program_and_no_writing(
    repo: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("x")
    code = """
        victim = Path(sys.argv[1])
        package = victim.parent
        ours, theirs = socket.socketpair()
        walls = confine_after_load(confine_at_start([package]))
        attempt("internet", lambda: socket.socket(socket.AF_INET))
        attempt("unix", lambda: socket.socket(socket.AF_UNIX))
        attempt("program", lambda: os.execv("/bin/true", ["true"]))
        attempt("child", lambda: subprocess.run(["/bin/true"]))
        attempt("fork", os.fork)
        attempt("write", lambda: Path("/tmp/aiosd-wall").write_text("x"))
        attempt("append", lambda: victim.open("a"))
        attempt("remove", victim.unlink)
        attempt("chmod", lambda: victim.chmod(0o777))
        attempt("signal", lambda: os.kill(os.getppid(), 0))
        attempt("group", lambda: os.kill(0, 0))
        attempt("myself", lambda: os.kill(os.getpid(), 0))
        attempt("read", victim.read_text)
        attempt("pipe", lambda: (ours.send(b"x"), theirs.recv(1)))
        attempt("memory", lambda: os.truncate(os.memfd_create("tensor"), 4096))
        finish(walls)
    """
    answers = run(repo, code, victim)
    allowed = {name for name, answer in answers.items() if answer == "done"}
    assert allowed == {"myself", "read", "pipe", "memory"}
    walls = answers["walls"]
    assert walls["seccomp"]
    assert walls["no_network"]
    assert walls["no_exec"]
    assert walls["no_write"]
    assert walls["no_signals"]
    assert not Path("/tmp/aiosd-wall").exists()
    assert victim.stat().st_mode & 0o777 != 0o777


@needs_landlock
def test_before_loading_files_are_fenced_already(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "model").write_text("weights")
    (tmp_path / "secret").write_text("of another user")
    code = """
        folder = Path(sys.argv[1])
        walls = confine_at_start([folder / "package"])
        attempt("model", (folder / "package" / "model").read_text)
        attempt("secret", (folder / "secret").read_text)
        attempt("passwords", Path("/etc/shadow").read_bytes)
        attempt("write", lambda: (folder / "package" / "new").write_text("x"))
        attempt("program", lambda: os.execv("/bin/true", ["true"]))
        attempt("null", lambda: Path("/dev/null").write_text("x"))
        attempt("late import", lambda: __import__("colorsys"))
        finish(walls)
    """
    answers = run(repo, code, tmp_path)
    allowed = {name for name, answer in answers.items() if answer == "done"}
    assert allowed == {"model", "null", "late import"}
    assert answers["walls"]["read_limited"]
    assert answers["walls"]["no_write"]
    assert answers["walls"]["no_exec"]
    assert not answers["walls"]["no_network"]


@needs_landlock
@pytest.mark.parametrize("here", ["", "/"])
def test_a_daemon_that_was_started_in_the_root_opens_nothing_more_to_its_workers(
    repo: Path, tmp_path: Path, here: str
) -> None:
    """`python -m` puts the working folder into the path of modules: under systemd that is `/`."""
    (tmp_path / "package").mkdir()
    (tmp_path / "secret").write_text("of another user")
    code = f"""
        import importlib
        from aiosd.worker import confine
        folder = Path(sys.argv[1])
        os.chdir("/")
        sys.path.insert(0, {here!r})
        importlib.reload(confine)
        walls = confine.confine_at_start([folder / "package"])
        attempt("secret", (folder / "secret").read_text)
        attempt("late import", lambda: __import__("aiosd.worker.pace"))
        finish(walls)
    """
    answers = run(repo, code, tmp_path)
    assert answers["secret"] == "EACCES"
    assert answers["late import"] == "done"


@needs_landlock
def test_a_device_of_the_engine_stays_writable(repo: Path, tmp_path: Path) -> None:
    device = tmp_path / "gpu"
    device.write_text("")
    code = """
        device = Path(sys.argv[1])
        walls = confine_at_start([], devices=[device])
        walls = confine_after_load(walls, deny_writes=False)
        attempt("device", lambda: device.write_text("x"))
        attempt("elsewhere", lambda: (device.parent / "new").write_text("x"))
        attempt("internet", lambda: socket.socket(socket.AF_INET))
        finish(walls)
    """
    answers = run(repo, code, device)
    assert answers["device"] == "done"
    assert answers["elsewhere"] != "done"
    assert answers["internet"] != "done"
    assert answers["walls"]["no_write"]


@needs_seccomp
def test_threads_older_than_the_filter_are_bound_by_it(repo: Path) -> None:
    code = """
        walls = confine_at_start([])
        start, ready = threading.Event(), threading.Event()
        def old():
            ready.set()
            start.wait()
            attempt("old thread", lambda: socket.socket())
        older = threading.Thread(target=old)
        older.start()
        ready.wait()
        walls = confine_after_load(walls)
        start.set()
        older.join()
        newer = threading.Thread(target=lambda: attempt("new thread", lambda: socket.socket()))
        newer.start()
        newer.join()
        finish(walls)
    """
    answers = run(repo, code)
    assert answers["old thread"] == "EPERM"
    assert answers["new thread"] == "EPERM"


def test_a_worker_is_lowered_and_never_raised(repo: Path) -> None:
    code = """
        import resource
        before = os.nice(0)
        walls = confine_at_start([], open_files=64, nice=3, oom_score_adj=500)
        again = confine_at_start([], open_files=128, nice=0, oom_score_adj=100)
        answers["core"] = resource.getrlimit(resource.RLIMIT_CORE)
        answers["files"] = resource.getrlimit(resource.RLIMIT_NOFILE)
        answers["nice"] = os.nice(0) - before
        answers["score"] = int(Path("/proc/self/oom_score_adj").read_text())
        answers["again"] = [again.open_files, again.oom_score_adj]
        status = Path("/proc/self/status").read_text()
        answers["privileges"] = "NoNewPrivs:\\t1" in status
        finish(walls)
    """
    answers = run(repo, code)
    assert answers["core"] == [0, 0]
    assert answers["files"] == [64, 64]
    assert answers["nice"] == 3
    assert answers["score"] == answers["walls"]["oom_score_adj"] >= 500
    assert answers["again"] == [64, answers["score"]]
    assert answers["privileges"]
    assert answers["walls"]["no_new_privileges"]


# A kernel that lacks a wall is played by a filter that says "no such call".
OLD_KERNEL = """
import platform
from aiosd.worker import seccomp
from aiosd.worker.libc import prctl
missing = json.loads(sys.argv[1])
prctl(38, 1)
program = [(0x20, 0, 0, 0)]
for number in missing:
    program += [(0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | errno.ENOSYS)]
program.append((0x06, 0, 0, 0x7FFF0000))
seccomp.install(program, seccomp.ARCHITECTURES[platform.machine()])
"""


@needs_seccomp
def test_a_kernel_without_landlock_still_gets_the_filter(repo: Path, tmp_path: Path) -> None:
    code = """
        walls = confine_after_load(confine_at_start([]))
        attempt("write", lambda: (Path(sys.argv[2]) / "new").write_text("x"))
        attempt("program", lambda: os.execv("/bin/true", ["true"]))
        finish(walls)
    """
    answers = run(repo, OLD_KERNEL + dedent(code), json.dumps([444]), tmp_path)
    assert answers["write"] == "EPERM"
    assert answers["program"] == "EPERM"
    walls = answers["walls"]
    assert (walls["landlock_abi"], walls["read_limited"], walls["no_write"]) == (0, False, True)
    assert walls["gaps"] == ["landlock: this kernel has none, or it is switched off"]


@needs_seccomp
def test_a_kernel_with_neither_says_so_and_the_worker_still_runs(repo: Path) -> None:
    code = """
        walls = confine_after_load(confine_at_start([]))
        attempt("internet", lambda: socket.socket(socket.AF_INET))
        finish(walls)
    """
    number = {"x86_64": 317, "aarch64": 277}[platform.machine()]
    answers = run(repo, OLD_KERNEL + dedent(code), json.dumps([444, number]))
    assert answers["internet"] == "done"
    walls = answers["walls"]
    assert not any(walls[wall] for wall in ("seccomp", "no_network", "no_exec", "no_write"))
    assert [gap.partition(":")[0] for gap in walls["gaps"]] == ["landlock", "seccomp"]


def test_a_worker_ends_with_the_process_that_started_it(repo: Path) -> None:
    code = """
        reader, writer = os.pipe()
        parent = os.getpid()
        middle = os.fork()
        if not middle:
            starter = os.getpid()
            if not os.fork():
                die_with_parent(starter)
                os.write(writer, b"up")
                threading.Event().wait()
            os.read(reader, 2)
            os._exit(0)
        os.close(writer)
        os.waitpid(middle, 0)
        answers["left"] = os.read(reader, 1).decode()  # end of file: the grandchild is gone
        finish(confine_at_start([]))
    """
    assert run(repo, code)["left"] == ""


def test_a_worker_whose_parent_is_gone_already_ends_at_once(repo: Path) -> None:
    code = """
        try:
            die_with_parent(os.getppid() + 1)
        except SystemExit as end:
            answers["code"] = end.code
        finish(confine_at_start([]))
    """
    assert run(repo, code)["code"] == 0


TENSOR = """
    assets = Path(sys.argv[1])
    walls = confine_at_start([assets])
    import numpy
    from {module}.interpreter import Interpreter
    path = assets / "tflite" / "misc" / "hello_world_sine_int8.tflite"
    model = Interpreter(str(path), num_threads=2)
    model.allocate_tensors()
    walls = confine_after_load(walls)
    shape = model.get_input_details()[0]
    model.set_tensor(shape["index"], numpy.full(shape["shape"], 60, shape["dtype"]))
    model.invoke()
    answers["output"] = int(model.get_tensor(model.get_output_details()[0]["index"])[0][0])
    attempt("internet", lambda: socket.socket(socket.AF_INET))
    finish(walls)
"""


@pytest.mark.assets
@pytest.mark.parametrize("module", ["ai_edge_litert", "tflite_runtime"])
def test_tensor_inference_works_inside_the_walls(repo: Path, assets: Path, module: str) -> None:
    pytest.importorskip(module)
    answers = run(repo, TENSOR.replace("{module}", module), assets)
    assert answers["output"] not in (0, -128, 127)
    assert answers["internet"] == "EPERM" or not answers["walls"]["seccomp"]


@pytest.mark.assets
def test_text_generation_with_new_threads_works_inside_the_walls(repo: Path, assets: Path) -> None:
    pytest.importorskip("llama_cpp")
    code = """
        assets = Path(sys.argv[1])
        walls = confine_at_start([assets])
        import llama_cpp
        path = str(assets / "gguf" / "TinyStories-656K-Q8_0.gguf")
        model = llama_cpp.Llama(path, n_ctx=64, n_threads=3, verbose=False)
        walls = confine_after_load(walls)
        answers["text"] = model("Once upon a time", max_tokens=6)["choices"][0]["text"]
        attempt("internet", lambda: socket.socket(socket.AF_INET))
        finish(walls)
    """
    answers = run(repo, code, assets)
    assert len(answers["text"].split()) >= 3
    assert answers["internet"] == "EPERM" or not answers["walls"]["seccomp"]


def test_pictures_are_decoded_inside_the_walls(repo: Path) -> None:
    pytest.importorskip("PIL")
    code = """
        import io
        from PIL import Image
        picture = io.BytesIO()
        Image.new("RGB", (64, 48), (255, 0, 0)).save(picture, "JPEG")
        walls = confine_after_load(confine_at_start([]))
        decoded = Image.open(io.BytesIO(picture.getvalue())).convert("RGB").resize((8, 8))
        answers["red"] = decoded.getpixel((4, 4))[0]
        finish(walls)
    """
    assert run(repo, code)["red"] > 240


def test_a_process_enters_every_group_that_it_can(tmp_path: Path) -> None:
    one, other = tmp_path / "one" / "cgroup.procs", tmp_path / "other" / "cgroup.procs"
    other.parent.mkdir()
    other.touch()
    enter_groups(open_entrances([str(one), str(other)]))
    assert other.read_text() == str(os.getpid())
