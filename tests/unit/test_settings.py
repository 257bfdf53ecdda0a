# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Settings: what the roles' own specs make of an environment."""

import pathlib

import pytest
import yaml

from llama_fleet import settings
from llama_fleet.errors import UsageError
from llama_fleet.settings import Catalogue, Stage, Variable

ROLES = settings.COLLECTION / "roles"
CATALOGUE = settings.load()
# A text that each type takes, and what it stands for.
GOOD: dict[str, list[tuple[str, object]]] = {
    "bool": [("true", True), ("No", False), ("1", True), ("off", False)],
    "dict": [("a=1,b=true,c=false", {"a": "1", "b": True, "c": False}), ('{"a": 1}', {"a": 1})],
    "float": [("0", 0.0), ("0.75", 0.75), ("-1", -1.0)],
    "int": [("0", 0), ("-1", -1), ("8192", 8192)],
    "list": [("CUDA0", ["CUDA0"]), ("a, b,", ["a", "b"])],
    "path": [("/srv/x", "/srv/x")],
    "str": [("a b=c", "a b=c")],
}
BAD = {
    "bool": ["maybe", "2"],
    "float": ["4k", "nan", "1_0", " 1", "0,5"],
    "int": ["4k", "4.0", "1_000", " 1"],
    "dict": ["a", "=b", "[1]", "{"],
}


# What the image's documentation says.
CONTRACT = {"CTX_SIZE": 4096, "MAX_TOKENS": 2048, "PORT": 8080, "PARALLEL": 16, "BATCH_SIZE": 2048, "UBATCH_SIZE": 512}


def all_specs() -> dict[str, dict[str, object]]:
    specs = {}
    for path in ROLES.glob("*/meta/argument_specs.yml"):
        if path.parts[-3] == "llama_gateway":  # of a fleet, and no part of an instance
            continue
        specs.update(yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"])
    return specs


def parameters(texts: dict[str, list[str]]) -> list[tuple[Variable, str]]:
    return [
        (variable, text)
        for variable in CATALOGUE.for_users
        if not variable.choices
        for text in texts.get(variable.kind, [])
    ]


def test_the_catalogue_is_the_specs() -> None:
    specs = all_specs()
    assert set(CATALOGUE.variables) == set(specs)
    for name, variable in CATALOGUE.variables.items():
        spec = specs[name]
        assert (variable.kind, variable.default, list(variable.choices), variable.secret) == (
            spec["type"],
            spec.get("default"),
            spec.get("choices", []),
            spec.get("no_log", False),
        )


def test_stages_are_in_the_order_of_the_play() -> None:
    assert CATALOGUE.roles == ["nvidia_driver", "cuda_toolkit", "llama_cpp", "gguf_model", "llama_server"]
    assert [stage for stage in CATALOGUE.stages["site"] if stage.role == "llama_cpp"] == [
        Stage("llama_cpp", "Plan the release", plan=True),
        Stage("llama_cpp", "Provide the release"),
    ]
    # The task that only begins the model is none.
    assert [stage.name for stage in CATALOGUE.stages["site"] if (stage.role, stage.plan) == ("gguf_model", False)] == [
        "Provide the model"
    ]
    assert CATALOGUE.stages["down"] == (Stage("llama_server", "Stop the instance"),)


@pytest.mark.parametrize(
    "name",
    [
        "llama_server_release",
        "llama_server_state",
        "llama_cpp_backend",
        "gguf_model_plan_only",
        "cuda_toolkit_plan_only",
    ],
)
def test_what_the_plays_set_is_not_for_users(name: str) -> None:
    assert CATALOGUE.variables[name].wired
    with (
        pytest.raises(UsageError, match=name.upper()) if name.startswith(("llama", "gguf")) else pytest.raises(KeyError)
    ):
        values = settings.from_environment({name.upper(): "true"}, CATALOGUE)
        raise KeyError(name) if name not in values else AssertionError(name)


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [(variable, *pair) for variable in CATALOGUE.for_users if not variable.choices for pair in GOOD[variable.kind]],
)
def test_every_variable_is_taken_in_capitals(variable: Variable, text: str, value: object) -> None:
    assert settings.from_environment({variable.name.upper(): text}, CATALOGUE) == {variable.name: value}


@pytest.mark.parametrize(
    ("variable", "choice"),
    [(variable, choice) for variable in CATALOGUE.for_users for choice in variable.choices if choice],
)
def test_every_choice_is_taken(variable: Variable, choice: str) -> None:
    value = [choice] if variable.kind == "list" else choice
    assert settings.from_environment({variable.name.upper(): choice}, CATALOGUE) == {variable.name: value}


@pytest.mark.parametrize(
    ("variable", "text"),
    [*parameters(BAD), *((variable, "no-such-choice") for variable in CATALOGUE.for_users if variable.choices)],
)
def test_a_wrong_value_is_told_with_what_is_accepted(variable: Variable, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings.from_environment({variable.name.upper(): text}, CATALOGUE)
    assert str(caught.value) == f"{variable.name.upper()}: expected {variable.accepted}, found '{text}'."
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("name", "target"), settings.ENVIRONMENT_NAMES.items())
def test_the_short_names_are_those_of_real_variables(name: str, target: str) -> None:
    text, value = ("7", 7) if CATALOGUE.variables[target].kind == "int" else ("x", "x")
    assert settings.from_environment({name: text}, CATALOGUE) == {target: value}


def test_the_contract_of_the_image_has_the_roles_own_defaults() -> None:
    defaults = {name: CATALOGUE.variables[settings.ENVIRONMENT_NAMES[name]].default for name in CONTRACT}
    assert defaults == CONTRACT


def test_every_problem_is_told_at_once() -> None:
    environment = {
        "PORT": "http",
        "LLAMA_SERVER_PROT": "1",
        "GGUF_MODEL_QUANTS": "Q8_0",
        "LLAMA_CPP_METHOD": "all",
        "LLAMA_SERVER_ZZZZ": "",
    }
    with pytest.raises(UsageError) as caught:
        settings.from_environment(environment, CATALOGUE)
    assert str(caught.value).splitlines() == [
        "PORT: expected a whole number, found 'http'.",
        (
            "LLAMA_SERVER_PROT: expected a role's variable in capitals, found a name that no role has. "
            "Fix: Use LLAMA_SERVER_PROMPT or LLAMA_SERVER_ROOT or LLAMA_SERVER_PORT."
        ),
        (
            "GGUF_MODEL_QUANTS: expected a role's variable in capitals, found a name that no role has. "
            "Fix: Use GGUF_MODEL_QUANT."
        ),
        "LLAMA_CPP_METHOD: expected one of auto, background, source, upstream, packed, found 'all'.",
        (
            "LLAMA_SERVER_ZZZZ: expected a role's variable in capitals, found a name that no role has. "
            "Fix: See the reference for the variables that exist."
        ),
    ]


@pytest.mark.parametrize(
    "name",
    ["PATH", "LLAMA_ARG_CTX_SIZE", "HF_ENDPOINT", "NVIDIA_DRIVER_CAPABILITIES", "CUDA_TOOLKIT_ROOT_DIR", "model"],
)
def test_others_variables_are_left_alone(name: str) -> None:
    assert settings.from_environment({name: "x"}, CATALOGUE) == {}


def test_an_empty_value_is_not_given() -> None:
    assert settings.from_environment({"PORT": "", "HF_TOKEN": "", "LLAMA_CPP_JOBS": ""}, CATALOGUE) == {}


def test_two_names_of_one_variable_must_agree() -> None:
    assert settings.from_environment({"PORT": "90", "LLAMA_SERVER_PORT": "90"}, CATALOGUE) == {"llama_server_port": 90}
    with pytest.raises(UsageError, match="LLAMA_SERVER_PORT: expected the value of PORT, found another one"):
        settings.from_environment({"PORT": "90", "LLAMA_SERVER_PORT": "91"}, CATALOGUE)


def test_only_secrets_come_out_of_a_command_lines_environment() -> None:
    environment = {"HF_TOKEN": "t", "LLAMA_API_KEY": "k", "PORT": "http", "MODEL": "a/b"}
    secrets = {"gguf_model_token": "t", "llama_server_api_key": "k"}
    assert settings.secrets_from_environment(environment, CATALOGUE) == secrets
    assert (
        settings.secrets_from_environment({"GGUF_MODEL_TOKEN": "t", "LLAMA_SERVER_API_KEY": "k"}, CATALOGUE) == secrets
    )


def test_a_wrong_secret_is_not_shown() -> None:
    pin = Variable("llama_server_pin", "llama_server", kind="int", secret=True)
    with pytest.raises(
        UsageError, match=r"^LLAMA_SERVER_PIN: expected a whole number, found a secret of another type\.$"
    ):
        settings.from_environment({"LLAMA_SERVER_PIN": "s3cr3t"}, Catalogue({pin.name: pin, **CATALOGUE.variables}, {}))


def test_a_prefix_moves_every_root() -> None:
    roots = settings.below(pathlib.Path("/box"), CATALOGUE)
    assert set(roots) == {name for name in all_specs() if name.endswith("_root")}
    assert all(str(value).startswith("/box/") for value in roots.values())
    assert roots["llama_server_root"] == "/box/etc/llama-fleet"


def test_descriptions_are_plain() -> None:
    assert (
        CATALOGUE.variables["gguf_model_endpoint"].description
        == "URL of the Hub, or of a cache in front of it, also below a path. "
        "Empty: HF_ENDPOINT of the host, else https://huggingface.co."
    )


def test_a_missing_collection_is_one_sentence(tmp_path: pathlib.Path) -> None:
    with pytest.raises(Exception, match=r"^llama-fleet is incomplete: .*site\.yml cannot be read"):
        settings.load(tmp_path)
