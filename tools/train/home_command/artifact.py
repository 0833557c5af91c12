"""Writing of the trained network as a GGUF file that llama.cpp loads."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import quantize
from torch import Tensor

from tools.train.home_command.network import Network
from tools.train.home_command.vocabulary import BEGIN, END, UNKNOWN, Vocabulary

QUANTIZATIONS = {
    "Q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
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


def named_tensors(network: Network) -> dict[str, Tensor]:
    """Return the weights under llama.cpp's names; the embedding is also the output."""
    tensors = {
        "token_embd.weight": network.table()[: network.size],
        "output_norm.weight": network.final_norm.weight,
    }
    for at, block in enumerate(network.blocks):
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


@torch.no_grad()
def write(network: Network, vocabulary: Vocabulary, path: Path, quantization: str) -> int:
    """Write the file beside ``path`` and move it there; returns its size in bytes."""
    kind, file_type = QUANTIZATIONS[quantization]
    shape = network.shape
    partial = path.with_suffix(".partial")
    writer = gguf.GGUFWriter(str(partial), "llama")
    writer.add_name("home-command")
    writer.add_description("Sentences for a home board to intent and slots as JSON")
    writer.add_license("CC-BY-4.0")
    writer.add_file_type(file_type)
    writer.add_vocab_size(len(vocabulary.pieces))
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(shape.rope_base)
    _write_tokens(writer, vocabulary)
    for name, tensor in named_tensors(network).items():
        values = np.ascontiguousarray(tensor.detach().float().numpy())
        stored = gguf.GGMLQuantizationType.F32 if values.ndim == 1 else kind
        writer.add_tensor(name, quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(path)
    return path.stat().st_size
