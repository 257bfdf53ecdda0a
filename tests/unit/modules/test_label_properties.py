# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test labels over generated repositories, in which the truth is known because each file was named after it."""

from __future__ import annotations

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
from tests.unit.modules.label_repositories import (
    ANY_FILE,
    DRAFTS,
    LABELS,
    NOT_MODELS,
    Model,
    Repository,
    by_path,
    extras,
    models,
    repositories,
)

if typing.TYPE_CHECKING:
    import random


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
@hypothesis.given(repositories(), st.sampled_from([*LABELS, "Q4_NL", "Q4", "Fo", "F1", "*", "gguf"]))
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
