"""A small model of llama architecture with its teacher's tokenizer; written as a GGUF file."""

import io
import math
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import quantize
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tools.distill.recipe import MethodPart, TrainingPart
from tools.distill.spec import CausalLm
from tools.train.home_command.network import Block, RmsNorm, Shape

KINDS = {
    "F16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "Q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "Q4_0": (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
}
WARM_UP = 0.05
COPIED = ("tokens", "scores", "token_type")


class CausalNet(nn.Module):
    """Tokens → logits of the next one; the table of embeddings is the output's too."""

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, spec: CausalLm, vocabulary: int, seed: int) -> None:
        """Take the sizes; the same seed gives the same weights."""
        super().__init__()
        torch.manual_seed(seed)
        self.shape = Shape(spec.width, spec.layers, spec.heads, spec.feed_forward, spec.context)
        self.table = nn.Parameter(torch.randn(vocabulary, spec.width) * 0.05)
        self.blocks = nn.ModuleList(Block(self.shape, 0.0) for _ in range(spec.layers))
        self.final_norm = RmsNorm(spec.width, self.shape.norm_epsilon)
        half = spec.width // spec.heads // 2
        turns = self.shape.rope_base ** (-torch.arange(half).float() / half)
        angles = torch.arange(spec.context).float()[:, None] * turns
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, length, vocabulary)."""
        x = functional.embedding(tokens, self.table)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits: torch.Tensor = self.final_norm(x) @ self.table.T
        return logits


class Texts:
    """Texts as tokens with, at each place, the teacher's k likeliest next tokens."""

    def __init__(
        self,
        tokens: list[list[int]],
        top: tuple[list[NDArray[np.int64]], list[NDArray[np.float32]]],
    ) -> None:
        """Take tokens, places (length, k) and values (length, k) of each text."""
        self.tokens, (self.places, self.values) = tokens, top

    def batch(self, rows: NDArray[np.int64]) -> tuple[torch.Tensor, ...]:
        """Return tokens, places, values and which places count, right padded."""
        width = max(len(self.tokens[row]) for row in rows)
        k = self.places[0].shape[1]
        tokens = np.zeros((len(rows), width), np.int64)
        places = np.zeros((len(rows), width, k), np.int64)
        values = np.zeros((len(rows), width, k), np.float32)
        counts = np.zeros((len(rows), width), np.bool_)
        for at, row in enumerate(rows):
            length = len(self.tokens[row])
            tokens[at, :length] = self.tokens[row]
            places[at, :length], values[at, :length] = self.places[row], self.values[row]
            counts[at, : length - 1] = True
        return tuple(torch.from_numpy(each) for each in (tokens, places, values, counts))


class CausalLearner:
    """Learns the texts, and with `taught` how likely the teacher held each next token to be."""

    def __init__(
        self,
        net: CausalNet,
        texts: Texts,
        settings: tuple[TrainingPart, MethodPart],
        seed: int,
        *,
        taught: bool,
    ) -> None:
        """Take them; nothing is learned yet."""
        self._net, self._texts, self._seed, self._taught = net, texts, seed, taught
        self._training, self._method = settings
        self._optimizer = torch.optim.AdamW(
            net.parameters(), self._training.rate, betas=(0.9, 0.98), weight_decay=0.01
        )

    def epoch(self, number: int, tick: Callable[[float], None]) -> dict[str, float]:
        """Learn from every text once."""
        chance = np.random.default_rng([self._seed, number])
        order = chance.permutation(len(self._texts.tokens))
        batches = np.array_split(order, -(-len(order) // self._training.batch))
        total = 0.0
        for at, rows in enumerate(batches):
            done = (number + at / len(batches)) / self._training.epochs
            rise = min(1.0, done / WARM_UP + 0.02)
            for group in self._optimizer.param_groups:
                group["lr"] = self._training.rate * rise * 0.5 * (1 + math.cos(math.pi * done))
            loss = self._loss(*self._texts.batch(rows))
            self._optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._net.parameters(), 1.0)
            self._optimizer.step()
            total += float(loss.detach())
            tick((at + 1) / len(batches))
        return {"loss": total / len(batches)}

    def _loss(
        self,
        tokens: torch.Tensor,
        places: torch.Tensor,
        values: torch.Tensor,
        counts: torch.Tensor,
    ) -> torch.Tensor:
        logits = self._net(tokens)[counts]
        nexts = torch.roll(tokens, -1, 1)[counts]
        hard = functional.cross_entropy(logits, nexts)
        if not self._taught:
            return hard
        heat, mixing = self._method.temperature, self._method.mixing
        # The kept tokens' shares among themselves: what is left out has little mass.
        target = functional.log_softmax(values[counts] / heat, dim=1)
        given = functional.log_softmax(logits / heat, dim=1).gather(1, places[counts])
        soft = heat**2 * (target.exp() * (target - given)).sum(1).mean()
        return mixing * soft + (1 - mixing) * hard

    def state(self) -> bytes:
        """Return net and optimizer."""
        file = io.BytesIO()
        torch.save([self._net.state_dict(), self._optimizer.state_dict()], file)
        return file.getvalue()

    def restore(self, state: bytes) -> None:
        """Go on from such a state."""
        net, optimizer = torch.load(io.BytesIO(state), weights_only=True)
        self._net.load_state_dict(net)
        self._optimizer.load_state_dict(optimizer)


@torch.no_grad()
def write_gguf(net: CausalNet, tokenizer: Path, path: Path, kind: str, name: str) -> None:
    """Write the net with the tokenizer of another GGUF file, whole or not at all."""
    stored, file_type = KINDS[kind]
    shape = net.shape
    partial = path.with_suffix(".partial")
    writer = gguf.GGUFWriter(str(partial), "llama")
    writer.add_name(name)
    writer.add_file_type(file_type)
    writer.add_vocab_size(net.table.shape[0])
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(shape.rope_base)
    _copy_tokenizer(writer, tokenizer)
    for key, tensor in _named(net).items():
        values = np.ascontiguousarray(tensor.float().numpy())
        plain = gguf.GGMLQuantizationType.F32 if values.ndim == 1 else stored
        writer.add_tensor(key, quantize(values, plain), raw_dtype=plain)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(path)


def _copy_tokenizer(writer: gguf.GGUFWriter, source: Path) -> None:
    fields = gguf.GGUFReader(source).fields
    prefix = "tokenizer.ggml."
    writer.add_tokenizer_model(fields[prefix + "model"].contents())
    writer.add_tokenizer_pre(fields[prefix + "pre"].contents())
    writer.add_token_list(fields[prefix + "tokens"].contents())
    writer.add_token_scores(fields[prefix + "scores"].contents())
    writer.add_token_types(fields[prefix + "token_type"].contents())
    writer.add_bos_token_id(fields[prefix + "bos_token_id"].contents())
    writer.add_eos_token_id(fields[prefix + "eos_token_id"].contents())
    writer.add_unk_token_id(fields[prefix + "unknown_token_id"].contents())
    writer.add_add_bos_token(value=True)


def _named(net: CausalNet) -> dict[str, torch.Tensor]:
    """Return the weights under llama.cpp's names."""
    found = {"token_embd.weight": net.table, "output_norm.weight": net.final_norm.weight}
    for at, block in enumerate(net.blocks):
        q, k, v = block.qkv.weight.chunk(3)
        gate, up = block.gate_up.weight.chunk(2)
        prefix = f"blk.{at}."
        found |= {
            f"{prefix}attn_norm.weight": block.attention_norm.weight,
            f"{prefix}attn_q.weight": q,
            f"{prefix}attn_k.weight": k,
            f"{prefix}attn_v.weight": v,
            f"{prefix}attn_output.weight": block.out.weight,
            f"{prefix}ffn_norm.weight": block.feed_norm.weight,
            f"{prefix}ffn_gate.weight": gate,
            f"{prefix}ffn_up.weight": up,
            f"{prefix}ffn_down.weight": block.down.weight,
        }
    return found
