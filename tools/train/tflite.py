"""Torch module → TFLite file that runs in ai-edge-litert and in tflite-runtime 2.14 alike.

`weights="int8"` stores the weights of dense and convolution layers in one byte each and computes
with inputs quantized on the fly; inputs and outputs stay float32. Dense layers get one scale for
the whole matrix, because tflite-runtime 2.14 reads only the first of several (measured: an error
as large as the output itself). `RowScaledLinear` gives the accuracy of a scale per row back.
"""

import copy
import hashlib
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import litert_torch
import numpy as np
import torch
from ai_edge_quantizer import qtyping, quantizer, recipe
from numpy.typing import NDArray

Weights = Literal["float32", "int8"]


class RowScaledTable(torch.nn.Module):
    """Rows that are looked up, stored in one byte a number with a scale for each row.

    Kept as int8 and turned into floats by operations of the graph, because tflite-runtime 2.14
    knows no lookup in a table with several scales.
    """

    rows: torch.Tensor
    scale: torch.Tensor

    def __init__(self, table: NDArray[np.float32]) -> None:
        """Take the table (rows, width)."""
        super().__init__()
        scale = (np.maximum(np.abs(table).max(axis=1), 1e-12) / 127).astype(np.float32)[:, None]
        self.register_buffer("rows", torch.from_numpy(np.round(table / scale).astype(np.int8)))
        self.register_buffer("scale", torch.from_numpy(scale))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return float32 (n, length, width) for ids (n, length)."""
        flat = ids.reshape(-1)
        found = self.rows[flat].float() * self.scale[flat]
        return found.reshape(ids.shape[0], ids.shape[1], -1)


class RowScaledLinear(torch.nn.Module):
    """A dense layer whose rows are stored at equal range and scaled back after the product.

    Computes x·Wᵀ + b as (x·(W/s)ᵀ)·s + b with s the largest magnitude of each row, so that one
    quantization scale for the whole matrix loses nothing against one per row.
    """

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        """Take weight (outputs, inputs) and bias (outputs,)."""
        super().__init__()
        scale = np.maximum(np.abs(weight).max(axis=1), 1e-12).astype(np.float32)
        self.dense = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        self.dense.weight = torch.nn.Parameter(torch.from_numpy(weight / scale[:, None]))
        self.scale = torch.nn.Parameter(torch.from_numpy(scale))
        self.bias = torch.nn.Parameter(torch.from_numpy(bias.astype(np.float32)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, outputs) for (batch, inputs)."""
        product: torch.Tensor = self.dense(x)
        return product * self.scale + self.bias


def write_tflite(
    module: torch.nn.Module,
    shapes: Sequence[tuple[int, ...]],
    path: Path,
    *,
    weights: Weights = "int8",
) -> str:
    """Convert `module` for float32 inputs of these shapes (batch 1 first); return the sha256."""
    samples = tuple(torch.zeros(*shape) for shape in shapes)
    return write_tflite_for(module, samples, path, weights=weights)


def write_tflite_for(
    module: torch.nn.Module,
    samples: tuple[torch.Tensor, ...],
    path: Path,
    *,
    weights: Weights = "int8",
) -> str:
    """Convert `module` for inputs of the shapes and types of `samples`; return the sha256."""
    module = module.eval()
    converted = litert_torch.convert(module, samples)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.tflite"
        converted.export(str(plain))
        if weights == "int8":
            _quantize(plain, _dynamic_recipe(), path)
        else:
            path.write_bytes(plain.read_bytes())
    path.chmod(0o644)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_static_int8(
    module: torch.nn.Module,
    shape: tuple[int, ...],
    samples: Iterable[NDArray[np.float32]],
    path: Path,
) -> str:
    """Convert `module` with int8 weights and activations, ranges taken from `samples`.

    Each sample has the shape of the input (batch 1). Inputs and outputs of the file stay float32
    with quantize and dequantize operations at the door. Returns the sha256.
    """
    module = module.eval()
    converted = litert_torch.convert(module, (torch.zeros(*shape),))
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.tflite"
        converted.export(str(plain))
        table = quantizer.Quantizer(str(plain), _static_recipe())
        name = next(iter(_signature_inputs(plain)))
        data = {"serving_default": [{name: sample} for sample in samples]}
        ranges = table.calibrate(data)
        table.quantize(ranges).export_model(str(path), overwrite=True)
    path.chmod(0o644)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _dynamic_recipe() -> list[dict[str, object]]:
    """Return int8 weights, one scale per dense matrix, one scale per channel of a convolution."""
    rules = copy.deepcopy(recipe.dynamic_wi8_afp32())
    dense = copy.deepcopy(rules[0])
    dense["operation"] = qtyping.TFLOperationName.FULLY_CONNECTED
    tensors = dense["op_config"]["weight_tensor_config"]
    tensors["granularity"] = qtyping.QuantGranularity.TENSORWISE
    return [*rules, dense]


def _static_recipe() -> list[dict[str, object]]:
    """Return int8 weights and activations, with the model's inputs and outputs left float32."""
    return [
        *copy.deepcopy(recipe.static_wi8_ai8()),
        *(
            {
                "regex": ".*",
                "operation": operation,
                "algorithm_key": "no_quantize",
                "op_config": {},
            }
            for operation in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT)
        ),
    ]


def _quantize(plain: Path, rules: list[dict[str, object]], path: Path) -> None:
    """Write `plain`, quantized by `rules`, to `path`."""
    quantizer.Quantizer(str(plain), rules).quantize().export_model(str(path), overwrite=True)


def _signature_inputs(path: Path) -> list[str]:
    """Return the names of the inputs of the model's only signature."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - heavy and only for int8

    signatures = Interpreter(model_path=str(path)).get_signature_list()
    inputs: list[str] = signatures["serving_default"]["inputs"]
    return inputs
