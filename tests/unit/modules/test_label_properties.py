# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test labels over generated repositories, in which the truth is known because each file was named after it."""

from __future__ import annotations

import dataclasses
import re
import typing

import hypothesis
import hypothesis.strategies as st
import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.choice import choose
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import (
    MODEL,
    Candidate,
    ListedFile,
    candidates,
    size_text,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.names import Index
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

if typing.TYPE_CHECKING:
    import random

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


THOROUGH = hypothesis.settings(max_examples=60, deadline=None)


def asked(repository: Repository) -> st.SearchStrategy[str]:
    """Draw a quant to request from the repository; empty for none."""
    return st.sampled_from(["", *(model.label for model in repository.models)]) | st.sampled_from(LABELS)


def outcome(listing: typing.Iterable[ListedFile], wanted: str) -> Candidate | str:
    """Return the chosen model or the error. The headers tell the truth: the names of companions are known."""
    try:
        return choose(listing, wanted, "'o/r'", kind_of=lambda each: "" if each.kind == MODEL else each.kind)
    except ProblemError as error:
        return str(error)


def paths(found: Candidate | str) -> list[str]:
    assert isinstance(found, Candidate), found
    return [file.path for file in found.files]


@THOROUGH
@hypothesis.given(repositories(), st.data())
def test_the_choice_is_the_one_the_rule_gives(repository: Repository, data: st.DataObject) -> None:
    label = data.draw(st.sampled_from([model.label for model in repository.models]))
    found = outcome(repository.listing, label)
    meant = repository.meant(label)
    if len(meant) == 1:
        assert paths(found) == [file.path for file in meant[0].files]
        return
    assert isinstance(found, str)
    if meant:
        assert "could be meant" in found
        assert all(model.files[0].path in found for model in meant)
    else:
        assert re.search(r"\d+ of \d+ shards of ", found) or "could be meant" in found


@THOROUGH
@hypothesis.given(repositories(), st.sampled_from([*LABELS, "Q4_NL", "Q4", "Foo", "F1", "*", "gguf"]))
def test_an_error_lists_every_candidate_with_its_size(repository: Repository, wanted: str) -> None:
    hypothesis.assume(wanted not in {model.label for model in repository.models})
    found = outcome(repository.listing, wanted)
    assert isinstance(found, str)
    assert f"'{wanted}', which is not in 'o/r'" in found
    for model in repository.models:
        size = size_text(sum(file.size for file in model.present))
        assert f" ({model.present[0].path}" in found
        assert size in found.partition(f"({model.present[0].path}")[2].partition(")")[0]
    for other in candidates(repository.listing):
        if other.draft and not other.doubtful:
            assert f"({other.path}" not in found


@THOROUGH
@hypothesis.given(repositories(), st.data(), st.randoms(use_true_random=False))
def test_the_order_of_the_listing_does_not_matter(
    repository: Repository, data: st.DataObject, order: random.Random
) -> None:
    wanted = data.draw(asked(repository))
    shuffled = list(repository.listing)
    order.shuffle(shuffled)
    assert outcome(shuffled, wanted) == outcome(repository.listing, wanted)


@THOROUGH
@hypothesis.given(repositories(), st.lists(models(broken=False)), st.data())
def test_files_of_no_concern_do_not_matter(repository: Repository, others: list[Model], data: st.DataObject) -> None:
    label = data.draw(st.sampled_from([model.label for model in repository.models]))
    more = data.draw(st.lists(extras([*NOT_MODELS, *DRAFTS], [label])))
    stems = {file.path.lower().partition("-0000")[0].removesuffix(".gguf") for file in repository.listing}
    strangers = [
        file
        for model in others
        if model.label != label and model.files[0].path.lower().partition("-0000")[0].removesuffix(".gguf") not in stems
        for file in model.files
    ]
    before = outcome(repository.listing, label)
    after = outcome(by_path([*repository.listing, *more, *strangers]), label)
    if isinstance(before, Candidate):
        assert paths(after) == paths(before)
    else:
        assert isinstance(after, str)


@THOROUGH
@hypothesis.given(repositories(), st.data(), st.sampled_from([str.upper, str.lower, str.swapcase, str.title]))
def test_upper_and_lower_case_do_not_matter(
    repository: Repository, data: st.DataObject, change: typing.Callable[[str], str]
) -> None:
    wanted = data.draw(asked(repository))
    before = outcome(repository.listing, wanted)
    changed = outcome([ListedFile(change(file.path), file.size) for file in repository.listing], change(wanted))
    if isinstance(before, Candidate):
        assert paths(changed) == [change(path) for path in paths(before)]
        assert isinstance(changed, Candidate)
        assert changed.quant == before.quant
    else:
        assert isinstance(changed, str)


@THOROUGH
@hypothesis.given(repositories())
def test_without_a_quant_the_default_order(repository: Repository) -> None:
    found = outcome(repository.listing, "")
    labels = {model.label for model in repository.models}
    expected = next(
        (label for label in ("Q4_K_M", "Q8_0") if label in labels), labels.pop() if len(labels) == 1 else ""
    )
    if isinstance(found, Candidate):
        assert found.quant == expected
        assert found == outcome(repository.listing, expected)
    elif expected:
        assert found == outcome(repository.listing, expected)
    else:
        assert "no quant given" in found


@pytest.mark.parametrize("patterns", [NOT_MODELS, DRAFTS])
@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(st.data())
def test_what_is_no_model_is_never_taken(patterns: list[str], data: st.DataObject) -> None:
    others = by_path(data.draw(st.lists(extras(patterns), min_size=1)))
    for label in LABELS:
        found = outcome([*others, ListedFile("Foo-Q5_1.gguf", 1)], label)
        assert paths(found) == ["Foo-Q5_1.gguf"] if label == "Q5_1" else isinstance(found, str)


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


@hypothesis.settings(max_examples=400, deadline=None)
@hypothesis.given(st.lists(ANY_FILE, min_size=1, max_size=12, unique_by=lambda file: file.path))
def test_each_file_of_any_listing_is_reached_by_its_label_and_no_label_means_two(listing: list[ListedFile]) -> None:
    labelled = Index(candidates(listing)).labelled()
    assert len({each.label for each in labelled}) == len(labelled)
    for each in labelled:
        (found,) = Index(candidates(listing)).find(each.label)
        assert found.files == each.files
        if not each.missing and (each.kind == MODEL or each.doubtful):
            chosen = choose(listing, each.label, "'o/r'", kind_of=lambda _each: MODEL)
            assert (chosen.files, chosen.label) == (each.files, each.label)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(st.lists(ANY_FILE, min_size=1, max_size=12, unique_by=lambda file: file.path))
def test_an_error_lists_the_label_of_each_model_of_any_listing(listing: list[ListedFile]) -> None:
    labelled = Index(candidates(listing)).labelled()
    found = outcome(listing, "no-such-label")
    assert isinstance(found, str)
    for each in labelled:
        if each.kind == MODEL:
            assert f"{each.label} ({each.path}" in found
