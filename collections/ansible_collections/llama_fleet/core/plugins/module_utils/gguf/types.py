# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The numbers of the GGUF format, from llama.h, ggml.h and gguf.h of llama.cpp: value types, tensor types, quants."""

from __future__ import annotations

# Value types of the metadata, and the struct format of those with a fixed size.
TEXT, ARRAY, U32 = 8, 9, 4
FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", U32: "<I", 5: "<i", 6: "<f", 7: "<b", 10: "<Q", 11: "<q", 12: "<d"}
INTEGERS = (0, 1, 2, 3, 4, 5, 10, 11)

# Bytes per block, by values per block and tensor type. A missing type may be newer than this table.
_WIDTHS = {
    1: {0: 4, 1: 2, 24: 1, 25: 2, 26: 4, 27: 8, 28: 8, 30: 2},  # F32 F16 I8 I16 I32 I64 F64 BF16
    32: {2: 18, 3: 20, 6: 22, 7: 24, 8: 34, 9: 36, 20: 18, 39: 17},  # Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q8_1 IQ4_NL MXFP4
    64: {40: 36, 42: 18},  # NVFP4 Q2_0
    128: {41: 18},  # Q1_0
    256: {
        **dict(enumerate((84, 110, 144, 176, 210, 292), 10)),  # Q2_K to Q6_K, Q8_K
        **dict(enumerate((66, 74, 98, 50), 16)),  # IQ2_XXS IQ2_XS IQ3_XXS IQ1_S
        **dict(enumerate((110, 82, 136), 21)),  # IQ3_S IQ2_S IQ4_XS
        29: 56,  # IQ1_M
        **dict(enumerate((54, 66), 34)),  # TQ1_0 TQ2_0
    },
}
BLOCKS = {kind: (values, width) for values, widths in _WIDTHS.items() for kind, width in widths.items()}
# Names of general.file_type, by the number of the first in each group.
_FILE_TYPES = {
    0: ("F32", "F16", "Q4_0", "Q4_1"),
    7: ("Q8_0", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"),
    19: (
        "IQ2_XXS",
        "IQ2_XS",
        "Q2_K_S",
        "IQ3_XS",
        "IQ3_XXS",
        "IQ1_S",
        "IQ4_NL",
        "IQ3_S",
        "IQ3_M",
        "IQ2_S",
        "IQ2_M",
        "IQ4_XS",
        "IQ1_M",
        "BF16",
    ),
    36: ("TQ1_0", "TQ2_0", "MXFP4_MOE", "NVFP4", "Q1_0", "Q2_0"),
}
QUANTS = {number: name for first, names in _FILE_TYPES.items() for number, name in enumerate(names, first)}
