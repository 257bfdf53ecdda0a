# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A GGUF file of random weights, small enough to make at run time and wide enough for real kernels.

Its text is noise; it exists so that a build can be seen to decode tokens before it is trusted.
"""

from __future__ import annotations

import dataclasses
import random
import struct
import typing

if typing.TYPE_CHECKING:
    import pathlib

_U32, _F32, _STRING, _ARRAY, _I32 = 4, 6, 8, 9, 5
_ALIGNMENT = 32
_WIDTH = 256  # one block of the K quants, four tiles of AMX
_HEADS, _KV_HEADS = 4, 2
_VOCABULARY = 288  # 3 special tokens, 256 bytes, letters; a multiple of a tile's 32 columns


@dataclasses.dataclass(frozen=True)
class Quant:
    """A tensor type: its GGUF number, the values of a block, and its block as struct fields.

    ``layout`` holds the block's parts in order: ``"d"`` for a half-precision scale, a number for
    that many bytes of quants.
    """

    number: int
    values: int
    layout: tuple[str | int, ...]


F32 = Quant(0, 1, ())
Q4_0 = Quant(2, 32, ("d", 16))
Q8_0 = Quant(8, 32, ("d", 32))
Q4_K = Quant(12, 256, ("d", "d", 12 + 128))
Q6_K = Quant(14, 256, (128 + 64 + 16, "d"))

Shape = tuple[int, ...]


def tensors() -> dict[str, tuple[Quant, Shape]]:
    """Name, type and shape of every tensor: two layers, a different kernel in nearly every matrix."""
    kv_width = _WIDTH * _KV_HEADS // _HEADS
    found: dict[str, tuple[Quant, Shape]] = {
        "token_embd.weight": (Q8_0, (_WIDTH, _VOCABULARY)),
        "output_norm.weight": (F32, (_WIDTH,)),
        "output.weight": (Q6_K, (_WIDTH, _VOCABULARY)),
    }
    for layer, (attention, feed_forward) in enumerate([(Q8_0, Q4_0), (Q4_K, Q4_K)]):
        block = f"blk.{layer}."
        for norm in ("attn_norm", "ffn_norm"):
            found[f"{block}{norm}.weight"] = (F32, (_WIDTH,))
        for name, rows in (("attn_q", _WIDTH), ("attn_k", kv_width), ("attn_v", kv_width), ("attn_output", _WIDTH)):
            found[f"{block}{name}.weight"] = (attention, (_WIDTH, rows))
        for name in ("ffn_gate", "ffn_up", "ffn_down"):
            found[f"{block}{name}.weight"] = (feed_forward, (_WIDTH, _WIDTH))
    return found


def write_tiny_model(path: pathlib.Path, seed: int = 1) -> None:
    """Write the model to ``path``: the same bytes for the same ``seed``."""
    source = random.Random(seed)
    described, blobs, offset = [], [], 0
    for name, (quant, shape) in tensors().items():
        blob = _padded(_weights(quant, shape, source))
        described.append(_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, quant.number, offset))
        blobs.append(blob)
        offset += len(blob)
    settings = _settings()
    head = b"GGUF" + struct.pack("<IQQ", 3, len(described), len(settings)) + b"".join(settings) + b"".join(described)
    path.write_bytes(_padded(head) + b"".join(blobs))


def _weights(quant: Quant, shape: Shape, source: random.Random) -> bytes:
    count = 1
    for length in shape:
        count *= length
    if quant is F32:
        return struct.pack(f"<{count}f", *([1.0] * count))
    scale = struct.pack("<e", 0.0008 if quant.values == 32 else 0.0001)
    block = [scale if part == "d" else int(part) for part in quant.layout]
    return b"".join(
        part if isinstance(part, bytes) else source.getrandbits(8 * part).to_bytes(part, "little") for _block in range(count // quant.values) for part in block
    )


def _settings() -> list[bytes]:
    words = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["\u2581"] + [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words += [f"\u2581{chr(code)}" for code in range(ord("a"), ord("z") + 1)]
    words = words[:_VOCABULARY]
    kinds = [2, 3, 3] + [6] * 256 + [1] * (_VOCABULARY - 259)  # unknown, control, byte, normal
    numbers = {
        "llama.context_length": 512,
        "llama.embedding_length": _WIDTH,
        "llama.block_count": 2,
        "llama.feed_forward_length": _WIDTH,
        "llama.attention.head_count": _HEADS,
        "llama.attention.head_count_kv": _KV_HEADS,
        "llama.rope.dimension_count": _WIDTH // _HEADS,
        "llama.vocab_size": _VOCABULARY,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    texts = {"general.architecture": "llama", "general.name": "tiny", "tokenizer.ggml.model": "llama"}
    return [
        *(_string(key) + struct.pack("<I", _STRING) + _string(text) for key, text in texts.items()),
        *(_string(key) + struct.pack("<II", _U32, number) for key, number in numbers.items()),
        _string("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", _F32, 1e-5),
        _string("tokenizer.ggml.tokens") + struct.pack("<IIQ", _ARRAY, _STRING, len(words)) + b"".join(map(_string, words)),
        _string("tokenizer.ggml.scores") + struct.pack(f"<IIQ{len(words)}f", _ARRAY, _F32, len(words), *(-float(rank) for rank in range(len(words)))),
        _string("tokenizer.ggml.token_type") + struct.pack(f"<IIQ{len(kinds)}i", _ARRAY, _I32, len(kinds), *kinds),
    ]


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
