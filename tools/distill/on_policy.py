"""On-policy distillation: the student writes, and its teacher says of each token what it held.

Generalized knowledge distillation (Agarwal et al. 2023), by TRL's trainer; it lives in
`trl.experimental.gkd` and may move, so that only this file names it. Teacher and student share a
tokenizer. A CPU is enough for models as small as ours.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tools.distill.fault import TeacherError
from tools.distill.students.causal import CausalNet


@dataclass(frozen=True)
class OnPolicy:
    """How it is done.

    `steps` batches of `batch` texts go on from their first `prompt` tokens, by at most `longest`;
    the share `on_policy` of them the student writes, the others are the teacher's. `beta` 0 is the
    divergence of the teacher from the student, 1 that of the student from the teacher.
    """

    steps: int
    batch: int = 8
    prompt: int = 8
    longest: int = 32
    on_policy: float = 0.5
    beta: float = 0.5
    temperature: float = 1.0
    rate: float = 5e-4


def refine(
    net: CausalNet, teacher: Path, texts: Sequence[Sequence[int]], how: OnPolicy, seed: int
) -> list[float]:
    """Let the student learn from what it writes; return the loss of each step.

    Raises:
        TeacherError: transformers cannot read the teacher's file, or its vocabulary is another.
    """
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # known, and said above
    import datasets  # noqa: PLC0415 - heavy, and for this method only
    from transformers import TrainerCallback, set_seed  # noqa: PLC0415
    from trl.experimental.gkd import GKDConfig, GKDTrainer  # noqa: PLC0415

    set_seed(seed)
    student, told = hugging_face(net), read_teacher(teacher)
    if told.config.vocab_size != student.config.vocab_size:
        raise TeacherError(f"{teacher} has {told.config.vocab_size} tokens, the student others")
    losses: list[float] = []

    class Note(TrainerCallback):  # type: ignore[misc] - untyped
        def on_log(self, *_: object, logs: dict[str, float], **__: object) -> None:
            if "loss" in logs:
                losses.append(float(logs["loss"]))

    settings = GKDConfig(
        output_dir=str(Path(tempfile.gettempdir()) / "on-policy"),
        max_steps=how.steps, seed=seed, learning_rate=how.rate,
        per_device_train_batch_size=how.batch, lmbda=how.on_policy, beta=how.beta,
        temperature=how.temperature, max_new_tokens=how.longest, use_cpu=True, bf16=False,
        logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True, max_length=None,
    )  # fmt: skip
    long_enough = [list(each) for each in texts if len(each) > how.prompt + 1]
    trainer = GKDTrainer(
        model=student,
        teacher_model=told,
        args=settings,
        data_collator=Collator(how.prompt, how.prompt + how.longest),
        train_dataset=datasets.Dataset.from_list([{"tokens": each} for each in long_enough]),
        processing_class=numbered_tokens(student.config.vocab_size),
        callbacks=[Note()],
    )
    trainer.train()
    take_back(net, student)
    return losses


class Collator:
    """Texts as TRL's trainer wants them: whole, with the prompt apart and not learned."""

    def __init__(self, prompt: int, longest: int) -> None:
        """Take how many tokens are the prompt, and how many the text at most."""
        self._prompt, self._longest = prompt, longest

    def __call__(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        """Return a batch, right padded."""
        texts = [row["tokens"][: self._longest] for row in rows]
        width = max(len(each) for each in texts)
        tokens = torch.zeros(len(texts), width, dtype=torch.long)
        labels = torch.full((len(texts), width), -100)
        seen = torch.zeros(len(texts), width, dtype=torch.long)
        for at, each in enumerate(texts):
            tokens[at, : len(each)] = torch.tensor(each)
            labels[at, self._prompt : len(each)] = torch.tensor(each[self._prompt :])
            seen[at, : len(each)] = 1
        prompts = tokens[:, : self._prompt]
        return {
            "input_ids": tokens,
            "labels": labels,
            "attention_mask": seen,
            "prompts": prompts,
            "prompt_attention_mask": torch.ones_like(prompts),
        }


def numbered_tokens(count: int) -> Any:  # noqa: ANN401 - transformers has no types here
    """Return a tokenizer whose words are the tokens' numbers: the texts are tokens already."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - heavy
    from tokenizers.models import WordLevel  # noqa: PLC0415
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    words = Tokenizer(WordLevel({str(at): at for at in range(count)}, unk_token="0"))  # noqa: S106
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="0", eos_token="2")  # noqa: S106


def read_teacher(path: Path) -> Any:  # noqa: ANN401 - likewise
    """Return a GGUF file of llama architecture as transformers has it."""
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - heavy

    try:
        return AutoModelForCausalLM.from_pretrained(
            str(path.parent), gguf_file=path.name, local_files_only=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise TeacherError(f"transformers cannot read {path}: {error}") from None


def hugging_face(net: CausalNet) -> Any:  # noqa: ANN401 - likewise
    """Return the student as transformers has it, with the same weights."""
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415 - heavy

    shape = net.shape
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=net.table.shape[0], hidden_size=shape.width,
            intermediate_size=shape.feed_forward, num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads, num_key_value_heads=shape.heads,
            max_position_embeddings=shape.context, rms_norm_eps=shape.norm_epsilon,
            rope_theta=shape.rope_base, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
            pad_token_id=0,
        )
    )  # fmt: skip
    with torch.no_grad():
        for ours, theirs, turned in _pairs(net, model):
            theirs.copy_(_halves(ours, shape.heads) if turned else ours)
    return model


@torch.no_grad()
def take_back(net: CausalNet, model: Any) -> None:  # noqa: ANN401 - likewise
    """Give the student the weights that transformers has of it."""
    for ours, theirs, turned in _pairs(net, model):
        ours.copy_(_neighbours(theirs, net.shape.heads) if turned else theirs)


def _pairs(
    net: CausalNet,
    model: Any,  # noqa: ANN401 - likewise
) -> list[tuple[torch.Tensor, torch.Tensor, bool]]:
    """Return each weight here and there, and whether its rows turn (queries and keys)."""
    found = [
        (net.table.data, model.model.embed_tokens.weight.data, False),
        (net.final_norm.weight.data, model.model.norm.weight.data, False),
    ]
    for block, layer in zip(net.blocks, model.model.layers, strict=True):
        query, key, value = block.qkv.weight.data.chunk(3)
        gate, up = block.gate_up.weight.data.chunk(2)
        own, mlp = layer.self_attn, layer.mlp
        found += [
            (query, own.q_proj.weight.data, True),
            (key, own.k_proj.weight.data, True),
            (value, own.v_proj.weight.data, False),
            (block.out.weight.data, own.o_proj.weight.data, False),
            (gate, mlp.gate_proj.weight.data, False),
            (up, mlp.up_proj.weight.data, False),
            (block.down.weight.data, mlp.down_proj.weight.data, False),
            (block.attention_norm.weight.data, layer.input_layernorm.weight.data, False),
            (block.feed_norm.weight.data, layer.post_attention_layernorm.weight.data, False),
        ]
    return found


def _halves(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """llama.cpp turns neighbouring rows of a head, transformers the rows of its two halves."""
    return rows.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def _neighbours(rows: torch.Tensor, heads: int) -> torch.Tensor:
    return rows.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
