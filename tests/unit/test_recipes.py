"""Recipes: what is written is read again, what the schema refuses is refused, and nothing of the machine is kept."""

import json
import tomllib
from dataclasses import asdict, fields
from pathlib import Path

import click
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrscore.cli import main
from cxrscore.errors import InputError
from cxrscore.recipes import OPTIONS, find_recipe, packaged_recipes, read_recipe, recipe_toml
from cxrscore.training import TrainOptions
from cxrscore.training.model_metadata import recipe_of

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "recipe.schema.json").read_text())
MACHINE = {"films", "labels", "output", "split", "device", "feature_backend", "workers", "resume", "allow_leakage"}
MACHINE |= {"allow_unmatched", "executor", "processes", "address", "overwrite", "recipe", "trained_on", "mlflow"}


def test_a_recipe_has_every_option_that_is_not_of_the_machine():
    assert set(OPTIONS) == {field.name for field in fields(TrainOptions)} - MACHINE
    assert set(SCHEMA["properties"]) == set(OPTIONS)
    assert set(OPTIONS) < {option.name for option in main.commands["train"].params}


def test_the_schema_is_one_and_describes_every_field():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert all(field["description"] for field in SCHEMA["properties"].values())


def test_the_defaults_are_a_recipe():
    text = recipe_toml(asdict(TrainOptions()))
    jsonschema.validate(tomllib.loads(text), SCHEMA)
    assert 'architecture = "densenet121"' in text
    assert "normalize" not in text  # None: as the weights want it
    assert "device" not in text


def test_a_recipe_says_which_files_it_needs(tmp_path):
    told = recipe_of(TrainOptions(weights="/data/x.h5", split=Path("/data/parts.csv")))
    text = recipe_toml(told)
    assert text.startswith(
        '# Needs --weights PATH, of the file "x.h5": a recipe contains no folder.\n# Needs --split PATH'
    )
    assert "/data" not in text
    (tmp_path / "recipe.toml").write_text(text)
    assert read_recipe(tmp_path / "recipe.toml")["weights"] == "x.h5"
    assert "split" not in read_recipe(tmp_path / "recipe.toml")
    for weights in ("imagenet", "none"):
        assert "#" not in recipe_toml(recipe_of(TrainOptions(weights=weights)))


DEEP = "[" * 5000 + "]" * 5000
BAD = {
    "lists in lists": (f"a = {DEEP}", "nested too deep; expected one value per option"),
    "tables in tables": ("a = " + "{a=" * 5000 + "1" + "}" * 5000, "nested too deep"),
    "lists in lists under a known name": (f"size = {'[' * 200}{']' * 200}", "size is a list, expected int"),
    "a name of a thousand parts": ("size" + ".a" * 1000 + " = 1", "size is a table, expected int"),
    "a table of a thousand names": ("[size" + ".a" * 1000 + "]", "size is a table, expected int"),
    "a number of 10,000 digits": ("size = " + "9" * 10_000, "a number of thousands of digits"),
    "a long text": (f"size = {'x' * 10_000!r}", "size is 'x{99}, expected int"),
    "a long name": (f"{'x' * 10_000} = 1", "has the option 'x{99}, which is not allowed in a recipe"),
    "half of a character": ('backend = "\\ud800"', "is not TOML"),
    "bytes that are no text": (b"backend = '\xff'", "is not TOML"),
    "more than a recipe has": ("# " + "x" * 40_000, "more than 32,768 bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_made_to_break_it_is_refused_with_its_name(tmp_path, name):
    text, words = BAD[name]
    (tmp_path / "evil.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=rf"evil\.toml.*{words}") as caught:
        read_recipe(tmp_path / "evil.toml")
    assert len(str(caught.value)) < 1500


def test_no_name_of_a_file_ends_the_comment():
    text = recipe_toml({"weights": "a\nloss = 'evil'\x7f.h5"})
    assert tomllib.loads(text) == {"weights": "a\nloss = 'evil'\x7f.h5"}


@given(st.text(max_size=30))
def test_any_text_comes_back(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    values = {"loss": text, "learning_rate": 1e-7, "epochs": 3}
    path.write_text(recipe_toml(values), encoding="utf-8")
    assert read_recipe(path) == values


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("flip = 1", "flip is 1, expected bool"),
        ("epochs = 'many'", "epochs is 'many', expected int"),
        ("epochs = true", "expected int"),
        ("learning_rate = 'fast'", "expected int or float"),
        ("optimiser = 'sgd'", "'optimiser', which is not allowed in a recipe"),
        ("epochs =", "not TOML"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(tmp_path, text, word):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=word):
        read_recipe(path)


@pytest.mark.parametrize("name", packaged_recipes())
def test_every_packaged_recipe_is_one(name):
    values = read_recipe(find_recipe(name))
    jsonschema.validate(values, SCHEMA)
    TrainOptions(**values)
    assert "seed" not in values
    assert "backend" not in values


def test_the_default_recipe_is_the_defaults():
    values = read_recipe(find_recipe("default"))
    assert values == {name: value for name, value in asdict(TrainOptions()).items() if name in values}


def test_a_recipe_is_found_by_name_or_by_path():
    assert {"default", "fine-tune", "fine-tune-last-block"} <= set(packaged_recipes())
    assert find_recipe("mine.toml") == Path("mine.toml")
    assert find_recipe("runs/mine") == Path("runs/mine")
    with pytest.raises(InputError, match=r"no recipe 'fine'; there is: default, fine-tune, fine-tune-last-block"):
        find_recipe("fine")


def given(*words, **environment):
    """The options of a command line."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(f"CXRSCORE_TRAIN_{name.upper()}", value)
        program = click.Context(main, **main.context_settings)  # a command remembers its --help for all tests
        return main.commands["train"].make_context("train", [*words], parent=program).params


def test_flags_come_before_the_environment_that_before_a_recipe_and_it_before_the_defaults(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('size = 300\nflip = true\ndrop_last = true\nuncertain = "positive"\nwarmup = 2\n')
    words = ("--recipe", str(recipe))
    assert given()["size"] is None  # train takes that of the network
    found = given(*words)
    assert (found["size"], found["flip"], found["drop_last"], found["uncertain"]) == (300, True, True, "positive")
    assert found["warmup"] == 2
    assert found["epochs"] == 80
    assert given(*words, size="200")["size"] == 200
    assert given(*words, "--size", "100", size="200")["size"] == 100
    found = given("--no-flip", *words, "--no-drop-last")
    assert (found["flip"], found["drop_last"]) == (False, False)
    assert given(recipe="fine-tune")["trainable"] == "all"
    assert given("--recipe", "fine-tune-last-block", "--trainable", "all")["schedule"] == "cosine"


def test_findings_come_from_a_recipe_the_environment_or_options(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('findings = "Mass,Support Devices=tube"\n')
    wanted = ("Mass", "Support Devices=tube")
    assert given("--recipe", str(recipe))["findings"] == wanted
    assert given(findings="Mass,Support Devices=tube")["findings"] == wanted
    assert given("--finding", "Mass", "--finding", "Support Devices=tube")["findings"] == wanted
    assert given("--recipe", str(recipe), "--findings", "Edema, Mass")["findings"] == ("Edema", "Mass")


def test_a_recipe_out_of_range_is_a_wrong_command_line(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("layer_decay = 2.0\n")
    with pytest.raises(click.BadParameter, match=r"2.0 is not in the range"):
        given("--recipe", str(recipe))


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "r.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not TOML"):
        read_recipe(tmp_path / "r.toml")
