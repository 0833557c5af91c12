"""TFLite models of one operator, made here, so that engine tests need no file of anybody's."""

from dataclasses import dataclass

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

FLOAT32, INT32, UINT8, INT8 = 0, 2, 3, 9
_ADD, _CUSTOM, _GATHER, _QUANTIZE = 0, 32, 36, 114


@dataclass(frozen=True)
class Port:
    """A tensor of a tiny model."""

    shape: tuple[int, ...]
    kind: int = FLOAT32
    scale: float = 0.0
    zero: int = 0
    signature: tuple[int, ...] = ()
    data: bytes = b""


def build(
    ports: list[Port],
    inputs: list[int],
    *,
    op: int,
    options: object,
    name: str = "",
    description: str = "tiny",
) -> bytes:
    """Return the bytes of a model whose only operator gives the last port."""
    model, graph, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT()
    buffers = [b"", *(port.data for port in ports if port.data)]
    graph.tensors = [
        _tensor(port, f"port{number}", buffers.index(port.data))
        for number, port in enumerate(ports)
    ]
    code.builtinCode, code.deprecatedBuiltinCode = op, min(op, 127)
    code.version, code.customCode = 1, name or None
    asked = dict.fromkeys(place for place in inputs if not ports[place].data)
    graph.inputs = np.array(list(asked), np.int32)
    graph.outputs = np.array([len(ports) - 1], np.int32)
    graph.operators = [_operator(inputs, graph.outputs, options)]
    model.version, model.description = 3, description
    model.operatorCodes, model.subgraphs = [code], [graph]
    model.buffers = [_buffer(data) for data in buffers]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _buffer(data: bytes) -> schema.BufferT:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8) if data else None
    return buffer


def _tensor(port: Port, name: str, buffer: int) -> schema.TensorT:
    tensor, quantization = schema.TensorT(), schema.QuantizationParametersT()
    tensor.name, tensor.type, tensor.buffer = name, port.kind, buffer
    tensor.shape = np.array(port.shape, np.int32)
    if port.signature:
        tensor.shapeSignature = np.array(port.signature, np.int32)
    if port.scale:
        quantization.scale = np.array([port.scale], np.float32)
        quantization.zeroPoint = np.array([port.zero], np.int64)
        tensor.quantization = quantization
    return tensor


def _operator(inputs: list[int], outputs: np.ndarray, options: object) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.outputs = 0, outputs
    operator.inputs = np.array(inputs, np.int32)
    if options is not None:
        name = type(options).__name__.removesuffix("T")
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
    return operator


def adder(shape: tuple[int, ...], signature: tuple[int, ...] = ()) -> bytes:
    """Two float inputs of one shape → their sum."""
    port = Port(shape, signature=signature)
    return build([port, port, port], [0, 1], op=_ADD, options=schema.AddOptionsT())


def doubler(shape: tuple[int, ...], signature: tuple[int, ...] = ()) -> bytes:
    """One float input → twice that."""
    port = Port(shape, signature=signature)
    return build([port, port], [0, 0], op=_ADD, options=schema.AddOptionsT())


def requantizer(given: Port, wanted: Port) -> bytes:
    """One quantized input → the same reals, quantized in another way."""
    return build([given, wanted], [0], op=_QUANTIZE, options=schema.QuantizeOptionsT())


def gatherer(table: list[float], description: str = "tiny") -> bytes:
    """Int32 (1, 2) places → the numbers at those places of a table; it fails on a wrong place."""
    numbers = Port((len(table),), data=np.array(table, "<f4").tobytes())
    ports = [numbers, Port((1, 2), INT32), Port((1, 2))]
    options = schema.GatherOptionsT()
    return build(ports, [0, 1], op=_GATHER, options=options, description=description)


def stranger(name: str) -> bytes:
    """A model of one custom operator that no library has."""
    return build([Port((1, 3)), Port((1, 3))], [0], op=_CUSTOM, options=None, name=name)
