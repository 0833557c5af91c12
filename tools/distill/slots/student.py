"""The student: a llama that reads a sentence both ways, and writes the answer after it.

The words of the prompt see each other, the answer's tokens what is before them (a prefix language
model: Raffel et al. 2020, section 3.2). llama.cpp does the same for a file that says
`llama.attention.causal = false`: a prompt is one batch, and then comes one token at a time.

The student begins with the weights of an earlier release. New layers may be put in that at first
change nothing (Wu et al. 2024, "LLaMA Pro": block expansion). The head that says what each word
is, is for learning only; the file has none of it.
"""

from pathlib import Path

import gguf
import torch
from gguf.quants import dequantize
from torch import Tensor, nn
from torch.nn import functional

from tools.distill.slots.units import TAGS
from tools.train.home_command.network import Block, RmsNorm, Shape, rotate
from tools.train.home_command.vocabulary import Vocabulary

_KINDS = {
    gguf.TokenType.NORMAL: "normal",
    gguf.TokenType.UNKNOWN: "unknown",
    gguf.TokenType.CONTROL: "control",
    gguf.TokenType.BYTE: "byte",
}
CONTEXT = 1024


def vocabulary_of(path: Path) -> Vocabulary:
    """Read the tokens of a model file."""
    fields = gguf.GGUFReader(path).fields
    prefix = "tokenizer.ggml."
    return Vocabulary.of_tokens(
        fields[prefix + "tokens"].contents(),
        fields[prefix + "scores"].contents(),
        [_KINDS[each] for each in fields[prefix + "token_type"].contents()],
    )


class Reader(nn.Module):
    """Tokens → states; logits are asked for at the places that matter only."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape, vocabulary: int) -> None:
        """Take the sizes."""
        super().__init__()
        self.shape = shape
        self.table = nn.Parameter(torch.randn(vocabulary, shape.width) * 0.05)
        self.blocks = nn.ModuleList(Block(shape, 0.0) for _ in range(shape.layers))
        self.final_norm = RmsNorm(shape.width, shape.norm_epsilon)
        self.tag_head = nn.Linear(shape.width, TAGS)
        half = shape.width // shape.heads // 2
        turns = shape.rope_base ** (-torch.arange(half).float() / half)
        angles = torch.arange(shape.context).float()[:, None] * turns
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens: Tensor, prompts: Tensor) -> Tensor:
        """Return the normalised last states (batch, length, width).

        Args:
            tokens: (batch, length), right padded.
            prompts: how many of each row's tokens are the prompt.
        """
        place = torch.arange(tokens.shape[1], device=tokens.device)
        seen = (place[None] <= place[:, None])[None] | (place[None, None] < prompts[:, None, None])
        mask = torch.zeros(seen.shape, device=tokens.device).masked_fill(~seen, float("-inf"))
        x = functional.embedding(tokens, self.table)
        for block in self.blocks:
            x = _through(block, x, (self.cos, self.sin), mask[:, None])
        states: Tensor = self.final_norm(x)
        return states


def _through(block: nn.Module, x: Tensor, turns: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
    """Run a block with torch's fused attention, which is what `Block` computes."""
    length = x.shape[1]
    q, k, v = (
        each.unflatten(-1, (block.heads, -1))
        for each in block.qkv(block.attention_norm(x)).chunk(3, -1)
    )
    cos, sin = (each[:length] for each in turns)
    q, k = rotate(q, cos, sin), rotate(k, cos, sin)
    seen = functional.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask
    )
    x = x + block.out(seen.transpose(1, 2).flatten(-2))
    gate, up = block.gate_up(block.feed_norm(x)).chunk(2, dim=-1)
    grown: Tensor = x + block.down(functional.silu(gate) * up)
    return grown


@torch.no_grad()
def grown_from(path: Path, new_layers: tuple[int, ...], seed: int) -> Reader:
    """Return a reader with the weights of a model file and new layers before the named old ones."""
    torch.manual_seed(seed)
    reader = gguf.GGUFReader(path)
    tensors = {
        each.name: torch.from_numpy(dequantize(each.data, each.tensor_type).copy())
        for each in reader.tensors
    }

    def number(key: str) -> int:
        return int(reader.fields[f"llama.{key}"].contents())

    old = number("block_count")
    table = tensors["token_embd.weight"]
    shape = Shape(
        number("embedding_length"), old + len(new_layers), number("attention.head_count"),
        number("feed_forward_length"), CONTEXT,
    )  # fmt: skip
    net = Reader(shape, table.shape[0])
    net.table.copy_(table)
    net.final_norm.weight.copy_(tensors["output_norm.weight"])
    blocks = list(net.blocks)
    for at in range(old):
        for _ in range(new_layers.count(at)):
            fresh = blocks.pop(0)
            _fill(fresh, tensors, at)
            fresh.out.weight.zero_()
            fresh.down.weight.zero_()
        _fill(blocks.pop(0), tensors, at)
    return net


def new_one(tokenizer: Path, shape: Shape, seed: int) -> Reader:
    """Return a reader of weights of chance for the tokens of a model file."""
    torch.manual_seed(seed)
    net = Reader(shape, len(vocabulary_of(tokenizer).pieces))
    with torch.no_grad():
        for name, weight in net.blocks.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                # What is added up over all layers begins no larger than one of them would be.
                weight.mul_((2 * shape.layers) ** -0.5)
    return net


def _fill(block: nn.Module, tensors: dict[str, Tensor], at: int) -> None:
    own = {key.removeprefix(f"blk.{at}.").removesuffix(".weight"): value
           for key, value in tensors.items() if key.startswith(f"blk.{at}.")}  # fmt: skip
    block.attention_norm.weight.copy_(own["attn_norm"])
    block.qkv.weight.copy_(torch.cat([own["attn_q"], own["attn_k"], own["attn_v"]]))
    block.out.weight.copy_(own["attn_output"])
    block.feed_norm.weight.copy_(own["ffn_norm"])
    block.gate_up.weight.copy_(torch.cat([own["ffn_gate"], own["ffn_up"]]))
    block.down.weight.copy_(own["ffn_down"])
