# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Generate repositories of models, whose names have a form or none."""

from __future__ import annotations

import dataclasses
import re
import typing

import hypothesis.strategies as st

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import ListedFile

KNOWN = """
F16 BF16 F32 MXFP4 MXFP4_MOE NVFP4 TQ1_0 TQ2_0 Q4_0 Q4_0_4_4 Q4_0_8_8 Q4_1 Q5_0 Q5_1 Q8_0
Q2_K Q2_K_L Q3_K_S Q3_K_M Q3_K_L Q3_K_XL
Q4_K Q4_K_S Q4_K_M Q4_K_L Q4_K_XL Q5_K_S Q5_K_M Q6_K Q6_K_L Q8_K_XL
IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_M IQ3_XXS IQ3_M IQ4_XS IQ4_NL
UD-Q4_K_XL UD-Q8_K_XL UD-IQ1_S UD-IQ2_XXS UD-Q2_K_XL
"""
LABELS = KNOWN.split()
PLAIN_NAMES = ["Foo-7B", "foo", "Q4_0tto-7B", "Llama-3.2-1B-Instruct", "Qwen3-30B-A3B-v1.0", "gpt-oss-20b", "Foo_mini"]
NAMES = [*PLAIN_NAMES, "Foo-F16-tuned", "Foo-Q8_0-merge", "Foo.Q4_K_M-GGUF", "Foo-imatrix"]
STYLES = [
    "{name}-{label}",
    "{name}.{label}",
    "{name}_{label}",
    "{name}.i1-{label}",
    "{label}/{name}-{label}",
    "old/{name}-{label}",
    "a/b/{name}.{label}",
]
NOT_MODELS = [
    "README.md",
    "config.json",
    "mmproj-F16.gguf",
    "mmproj-{name}-{label}.gguf",
    "{name}-mmproj-{label}.gguf",
    "{name}.mmproj.gguf",
    "mmproj/{name}-{label}.gguf",
    "imatrix.gguf",
    "imatrix_{name}.gguf",
    "{name}.imatrix.gguf",
    "{name}-{label}-imatrix.gguf",
    "{name}-imatrix-v2.gguf",
    "{name}-{label}.gguf.part1of2",
    "{name}-{label}.part2of2.gguf",
    "{name}-{label}-00000-of-00002.gguf",
    "{name}-{label}-1-of-2.gguf",
    "{name}-{label}.safetensors",
    "._{name}-{label}.gguf",
    ".cache/{name}-{label}.gguf",
    "{name}-{label}.gguf.sha256",
]
DRAFTS = [
    "{name}-MTP-{label}.gguf",
    "mtp-{name}-{label}.gguf",
    "{name}-draft-{label}.gguf",
    "eagle3-{label}.gguf",
    "{name}-Eagle-{label}.gguf",
    "{name}-dflash.{label}.gguf",
    "drafter/{name}-{label}.gguf",
    "MTP/{name}-{label}.gguf",
    "{name}-lora-{label}.gguf",
]


@dataclasses.dataclass(frozen=True)
class Model:
    """A model of a repository: what it is, and its files in their order. Of one with ``lacking`` not all are there."""

    label: str
    files: tuple[ListedFile, ...]
    split: bool
    lacking: int | None = None

    @property
    def present(self) -> list[ListedFile]:
        return [file for number, file in enumerate(self.files) if number != self.lacking]

    @property
    def rank(self) -> tuple[bool, bool]:
        return "/" in self.files[0].path, self.split

    @property
    def rest(self) -> list[str]:
        """Return the words of the path beside the label."""
        stem = re.sub(r"(-\d{5}-of-\d{5})?\.gguf$", "", self.files[0].path.lower())
        label = re.escape(self.label.lower()).replace("ud\\-", "ud[-_]")
        return re.findall(r"[^-._/ ]+", re.sub(f"(?<![a-z0-9]){label}(?![a-z0-9_])", " ", stem))


@dataclasses.dataclass(frozen=True)
class Repository:
    models: list[Model]
    others: list[ListedFile]

    @property
    def listing(self) -> list[ListedFile]:
        return [file for model in self.models for file in model.present] + self.others

    def meant(self, label: str) -> list[Model]:
        """Return the models that ``label`` could mean by the documented rule; more than one is an ambiguity."""
        complete = [model for model in self.models if model.label == label and model.lacking is None]
        shortest = min((model.rest for model in complete), key=len, default=[])
        if all(is_within(shortest, model.rest) for model in complete):
            complete = [model for model in complete if model.rest == shortest]
        return [model for model in complete if model.rank == min(other.rank for other in complete)]


def is_within(short: list[str], long: list[str]) -> bool:
    """Return whether ``long`` is ``short`` with more words in between."""
    rest = list(long)
    for word in short:
        if word not in rest:
            return False
        rest = rest[rest.index(word) + 1 :]
    return True


def model_of(stem: str, label: str, shards: int, size: int, lacking: int | None) -> Model:
    if not shards:
        return Model(label, (ListedFile(f"{stem}.gguf", size),), split=False)
    names = [f"{stem}-{number:05d}-of-{shards:05d}.gguf" for number in range(1, shards + 1)]
    files = tuple(ListedFile(name, size + number) for number, name in enumerate(names))
    return Model(label, files, split=True, lacking=lacking % shards if lacking is not None and shards > 1 else None)


@st.composite
def few_labels(draw: st.DrawFn) -> list[str]:
    """Draw the labels of one repository: few enough that some are equal, and some are parts of each other."""
    first = draw(st.sampled_from(LABELS))
    alike = [label for label in LABELS if label != first and (first in label or label in first)]
    return [first, *draw(st.lists(st.sampled_from(alike or LABELS) | st.sampled_from(LABELS), max_size=2))]


@st.composite
def models(
    draw: st.DrawFn, labels: typing.Sequence[str] = LABELS, names: typing.Sequence[str] = NAMES, broken: bool = True
) -> Model:
    label = draw(st.sampled_from(labels))
    style = draw(st.sampled_from(STYLES) | st.just("{label}/{name}"))
    name = draw(st.sampled_from(PLAIN_NAMES if style == "{label}/{name}" else names))
    lacking = draw(st.none() | st.integers(0, 3)) if broken else None
    stem = style.format(name=name, label=draw(st.sampled_from([label, label.lower()])))
    return model_of(stem, label, draw(st.integers(0, 4)), draw(st.integers(1, 10**11)), lacking)


@st.composite
def extras(draw: st.DrawFn, patterns: typing.Sequence[str], labels: typing.Sequence[str] = LABELS) -> ListedFile:
    path = draw(st.sampled_from(patterns)).format(
        name=draw(st.sampled_from(PLAIN_NAMES)), label=draw(st.sampled_from(labels))
    )
    return ListedFile(path, draw(st.integers(0, 10**11)))


def by_path(files: list[ListedFile]) -> list[ListedFile]:
    return list({file.path: file for file in files}.values())


@st.composite
def repositories(draw: st.DrawFn) -> Repository:
    labels = draw(few_labels())
    own = st.lists(
        models(labels),
        min_size=1,
        max_size=8,
        unique_by=lambda model: model.files[0].path.lower().partition("-0000")[0],
    )
    return Repository(draw(own), by_path(draw(st.lists(extras([*NOT_MODELS, *DRAFTS], labels), max_size=6))))


WORDS = [
    "Foo",
    "7B",
    "it",
    "smol",
    "I",
    "Compact",
    "imatrix",
    "mmproj",
    "MTP",
    "lora",
    "UD",
    "q4",
    "v1.0",
    "3.53bpw",
    "g128",
    "Q4_K_M",
    "Q8_0",
    "BF16",
    "MXFP4_MOE",
    "fp16",
]
ANY_WORD = st.sampled_from(WORDS) | st.text("aQ4_K-. é", min_size=1, max_size=3)
ANY_NAME = st.lists(st.tuples(ANY_WORD, st.sampled_from(["-", "_", ".", "/", " ", "--"])), min_size=1, max_size=6).map(
    lambda parts: "".join(word + separator for word, separator in parts)[:-1].strip("/")
)
ENDINGS = [".gguf", ".GGUF", *(f"-0000{number}-of-0000{count}.gguf" for number, count in ((1, 1), (1, 2), (2, 2)))]
ANY_FILE = st.builds(
    lambda stem, ending, size: ListedFile(f"{stem}{ending}", size),
    ANY_NAME,
    st.sampled_from(ENDINGS),
    st.integers(0, 10**11),
)
