"""Writing of the trained network as a GGUF file that llama.cpp loads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import quantize
from torch import Tensor, nn

from tools.train.home_command.network import Network, RmsNorm, Shape
from tools.train.home_command.vocabulary import BEGIN, END, UNKNOWN, Vocabulary

QUANTIZATIONS = {
    "Q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "Q4_0": (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
    "F16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "F32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
}
CONTEXT = 1024
CHAT_TEMPLATE = "{{ messages[-1]['content'] + '\\n' }}"
_KINDS = {
    "normal": gguf.TokenType.NORMAL,
    "unknown": gguf.TokenType.UNKNOWN,
    "control": gguf.TokenType.CONTROL,
    "byte": gguf.TokenType.BYTE,
}


def tensors_of(table: Tensor, blocks: nn.ModuleList, final_norm: RmsNorm) -> dict[str, Tensor]:
    """Return the weights under llama.cpp's names; the embedding is also the output."""
    tensors = {"token_embd.weight": table, "output_norm.weight": final_norm.weight}
    for at, block in enumerate(blocks):
        q, k, v = block.qkv.weight.chunk(3)
        gate, up = block.gate_up.weight.chunk(2)
        prefix = f"blk.{at}."
        tensors |= {
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
    return tensors


def _write_tokens(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([p.text.encode() for p in vocabulary.pieces])
    writer.add_token_scores([p.score for p in vocabulary.pieces])
    writer.add_token_types([_KINDS[p.kind] for p in vocabulary.pieces])
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_add_bos_token(value=True)
    writer.add_add_eos_token(value=False)
    writer.add_add_space_prefix(value=True)
    writer.add_chat_template(CHAT_TEMPLATE)


def copy_tokenizer(writer: gguf.GGUFWriter, source: Path) -> None:
    """Write the tokenizer of another GGUF file, all that it says."""
    for key, field in gguf.GGUFReader(source).fields.items():
        if not key.startswith("tokenizer."):
            continue
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(key, field.contents())
        else:
            writer.add_key_value(key, field.contents(), field.types[0])


@dataclass(frozen=True)
class About:
    """What the file says of itself; not `causal`: the words of a prompt see each other."""

    name: str
    description: str = ""
    licence: str = ""
    context: int = 1024
    causal: bool = True


def _write_head(writer: gguf.GGUFWriter, about: About, shape: Shape, vocabulary: int) -> None:
    writer.add_name(about.name)
    if about.description:
        writer.add_description(about.description)
    if about.licence:
        writer.add_license(about.licence)
    writer.add_vocab_size(vocabulary)
    writer.add_context_length(about.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(shape.rope_base)
    if not about.causal:
        writer.add_causal_attention(value=False)


@torch.no_grad()
def write_file(
    path: Path,
    about: About,
    network: tuple[Shape, dict[str, Tensor]],
    quantization: str,
    tokenizer: Callable[[gguf.GGUFWriter], None],
) -> int:
    """Write the file beside ``path`` and move it there; returns its size in bytes."""
    kind, file_type = QUANTIZATIONS[quantization]
    shape, tensors = network
    partial = path.with_suffix(".partial")
    writer = gguf.GGUFWriter(str(partial), "llama")
    _write_head(writer, about, shape, tensors["token_embd.weight"].shape[0])
    writer.add_file_type(file_type)
    tokenizer(writer)
    for name, tensor in tensors.items():
        values = np.ascontiguousarray(tensor.detach().float().numpy())
        stored = gguf.GGMLQuantizationType.F32 if values.ndim == 1 else kind
        writer.add_tensor(name, quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(path)
    return path.stat().st_size


def write(network: Network, vocabulary: Vocabulary, path: Path, quantization: str) -> int:
    """Write the file of this expert; returns its size in bytes."""
    about = About(
        "home-command",
        "Sentences for a home board to intent and slots as JSON",
        "CC-BY-4.0",
        CONTEXT,
    )
    table = network.table()[: network.size]
    tensors = tensors_of(table, network.blocks, network.final_norm)
    return write_file(
        path, about, (network.shape, tensors), quantization,
        lambda writer: _write_tokens(writer, vocabulary),
    )  # fmt: skip
