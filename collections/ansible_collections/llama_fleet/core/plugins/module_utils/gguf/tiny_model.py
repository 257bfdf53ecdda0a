# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Write GGUF files of random weights: a tiny one that exercises real kernels, and larger ones of any shape.

They generate noise. They prove that a build decodes tokens, and how fast, which does not depend on the weights.
"""

from __future__ import annotations

import dataclasses
import math
import random
import struct
import typing

if typing.TYPE_CHECKING:
    import pathlib

_U32, _F32, _STRING, _ARRAY, _I32 = 4, 6, 8, 9, 5
_ALIGNMENT = 32
# Blocks of random data in a tensor. They repeat after that many, because generating more would take minutes.
_DIFFERENT = 1 << 14


@dataclasses.dataclass(frozen=True)
class Quant:
    """A tensor type: its GGUF number, the values per block, and the layout of a block.

    ``layout`` lists a block's parts: ``"d"`` for a half-precision scale, a number for that many bytes of quants.
    """

    number: int
    values: int
    layout: tuple[str | int, ...]

    def size(self, shape: Shape) -> int:
        """Return the bytes of a tensor of this type; a type without a layout holds 32-bit floats."""
        block = sum(2 if part == "d" else int(part) for part in self.layout) or 4
        return math.prod(shape) // self.values * block


F32 = Quant(0, 1, ())
Q4_0 = Quant(2, 32, ("d", 16))
Q8_0 = Quant(8, 32, ("d", 32))
Q4_K = Quant(12, 256, ("d", "d", 12 + 128))
Q6_K = Quant(14, 256, (128 + 64 + 16, "d"))

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Model:
    """The shape of a model. ``layers`` has the types of each layer's attention and feed-forward matrices."""

    name: str
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    layers: tuple[tuple[Quant, Quant], ...]
    embedding: Quant
    output: Quant
    vocabulary: int
    context: int


# The width is one block of the K quants and four tiles of AMX. The vocabulary (3 special tokens, 256 bytes, letters) is
# a multiple of a tile's 32 columns. Nearly every matrix uses a different kernel.
TINY = Model("tiny", 256, 256, 4, 2, ((Q8_0, Q4_0), (Q4_K, Q4_K)), Q8_0, Q6_K, 288, 512)


def tensors(model: Model = TINY) -> dict[str, tuple[Quant, Shape]]:
    """Return the type and shape of every tensor by name."""
    kv_width = model.width * model.kv_heads // model.heads
    described: dict[str, tuple[Quant, Shape]] = {
        "token_embd.weight": (model.embedding, (model.width, model.vocabulary)),
        "output_norm.weight": (F32, (model.width,)),
        "output.weight": (model.output, (model.width, model.vocabulary)),
    }
    for layer, (attention, feed_forward) in enumerate(model.layers):
        block = f"blk.{layer}."
        for norm in ("attn_norm", "ffn_norm"):
            described[f"{block}{norm}.weight"] = (F32, (model.width,))
        for name, rows in (
            ("attn_q", model.width),
            ("attn_k", kv_width),
            ("attn_v", kv_width),
            ("attn_output", model.width),
        ):
            described[f"{block}{name}.weight"] = (attention, (model.width, rows))
        for name, shape in (
            ("ffn_gate", (model.width, model.feed_forward)),
            ("ffn_up", (model.width, model.feed_forward)),
            ("ffn_down", (model.feed_forward, model.width)),
        ):
            described[f"{block}{name}.weight"] = (feed_forward, shape)
    return described


def write_tiny_model(path: pathlib.Path, seed: int = 1) -> None:
    """Write the tiny model to ``path``: the same bytes for the same ``seed``."""
    write_model(path, TINY, seed)


def write_model(path: pathlib.Path, model: Model, seed: int = 1) -> None:
    """Write a model of this shape to ``path``: the same bytes for the same ``seed``."""
    source = random.Random(seed)
    described, offset = [], 0
    for name, (quant, shape) in tensors(model).items():
        described.append(_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, quant.number, offset))
        offset += _aligned(quant.size(shape))
    settings = _settings(model)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(described), len(settings)) + b"".join(settings) + b"".join(described)
    with path.open("wb") as file:
        file.write(_padded(head))
        for quant, shape in tensors(model).values():
            for part in _weights(quant, shape, source):
                file.write(part)
            file.write(bytes(_aligned(quant.size(shape)) - quant.size(shape)))


def _weights(quant: Quant, shape: Shape, source: random.Random) -> typing.Iterator[bytes]:
    """Yield the bytes of a tensor in pieces."""
    if quant is F32:
        yield struct.pack("<f", 1.0) * math.prod(shape)
        return
    blocks = math.prod(shape) // quant.values
    scale = struct.pack("<e", 0.0008 if quant.values == 32 else 0.0001)
    block = [scale if part == "d" else int(part) for part in quant.layout]
    different = b"".join(
        part if isinstance(part, bytes) else source.getrandbits(8 * part).to_bytes(part, "little")
        for _block in range(min(blocks, _DIFFERENT))
        for part in block
    )
    for begin in range(0, blocks, _DIFFERENT):
        yield different[: (blocks - begin) * quant.size((quant.values,))]


def _settings(model: Model) -> list[bytes]:
    words = (
        ["<unk>", "<s>", "</s>"]
        + [f"<0x{byte:02X}>" for byte in range(256)]
        + ["\u2581"]
        + [chr(code) for code in range(ord("a"), ord("z") + 1)]
    )
    words += [f"\u2581{chr(code)}" for code in range(ord("a"), ord("z") + 1)]
    words += [f"\u2581word{number}" for number in range(model.vocabulary - len(words))]
    words = words[: model.vocabulary]
    kinds = [2, 3, 3] + [6] * 256 + [1] * (model.vocabulary - 259)  # unknown, control, byte, normal
    numbers = {
        "llama.context_length": model.context,
        "llama.embedding_length": model.width,
        "llama.block_count": len(model.layers),
        "llama.feed_forward_length": model.feed_forward,
        "llama.attention.head_count": model.heads,
        "llama.attention.head_count_kv": model.kv_heads,
        "llama.rope.dimension_count": model.width // model.heads,
        "llama.vocab_size": model.vocabulary,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    texts = {"general.architecture": "llama", "general.name": model.name, "tokenizer.ggml.model": "llama"}
    return [
        *(_string(key) + struct.pack("<I", _STRING) + _string(text) for key, text in texts.items()),
        *(_string(key) + struct.pack("<II", _U32, number) for key, number in numbers.items()),
        _string("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", _F32, 1e-5),
        _string("tokenizer.ggml.tokens")
        + struct.pack("<IIQ", _ARRAY, _STRING, len(words))
        + b"".join(map(_string, words)),
        _string("tokenizer.ggml.scores")
        + struct.pack(f"<IIQ{len(words)}f", _ARRAY, _F32, len(words), *(-float(rank) for rank in range(len(words)))),
        _string("tokenizer.ggml.token_type") + struct.pack(f"<IIQ{len(kinds)}i", _ARRAY, _I32, len(kinds), *kinds),
    ]


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _padded(data: bytes) -> bytes:
    return data + bytes(_aligned(len(data)) - len(data))


def _aligned(size: int) -> int:
    return size + -size % _ALIGNMENT
