"""A small machine, the rules of its inventory, and the base model of a skill."""

from aiosd.daemon.inventory import LoadRules
from aiosd.domain.board import Machine
from tools.gguf.package import Made
from tools.gguf.random_llama import Shape

MACHINE = Machine(
    ram_bytes=2**30,
    cores=2,
    isa=frozenset(),
    architecture="x86_64",
    kernel="",
    cpu_model="",
    board_model="",
    word_bits=64,
)
RULES = LoadRules(
    keep_alive_seconds=300.0,
    park_after_seconds=-1.0,
    load_limit_seconds=60.0,
    threads=2,
    own_process=False,
)
BASE = Made("base", Shape(64, 1, 2, 2, 128, 320, 64, "F32"), 64, 16)
