"""The options of training: what they may be, the same in the library, the command line and the schema of recipes."""

import json
from dataclasses import asdict
from pathlib import Path

import click
import pytest

from cxrscore.cli import main
from cxrscore.cli.sections import section_of
from cxrscore.errors import InputError
from cxrscore.labels.uncertain_labels import BLANK, UNCERTAIN
from cxrscore.training import CHOICES, TrainOptions

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "recipe.schema.json").read_text())
FLAGS = {option.name: option for option in main.commands["train"].params}


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_has_the_same_words_everywhere(name):
    assert tuple(FLAGS[name].type.choices) == CHOICES[name]
    assert tuple(SCHEMA["properties"][name]["enum"]) == CHOICES[name]
    with pytest.raises(InputError, match=f"{name} is 'other', expected one of {CHOICES[name][0]}, "):
        TrainOptions(**{name: "other"})


@pytest.mark.parametrize(("name", "words"), [("uncertain", UNCERTAIN), ("blank", BLANK)])
def test_a_rule_for_labels_is_one_word_or_a_word_by_finding(name, words):
    for text in (*words, "unknown,Mass=negative", "Mass=negative, Pleural Effusion = unknown"):
        assert getattr(TrainOptions(**{name: text}), name) == text
    for text in ("other", "", "Mass=other", "unknown,negative", "=negative", "Mass=negative,mass=unknown", 1):
        with pytest.raises(InputError, match=f"{name} is {text!r}, expected {', '.join(words)}, or a word for each"):
            TrainOptions(**{name: text})


def test_findings_are_a_list_or_one_text():
    wanted = ("Mass", "Pleural Effusion")
    assert TrainOptions(findings="Mass, Pleural Effusion").findings == wanted
    assert TrainOptions(findings=list(wanted)).findings == wanted
    assert TrainOptions(findings=None).findings == TrainOptions().findings == ()
    with pytest.raises(InputError, match="findings names 'Effusion' twice"):
        TrainOptions(findings="Effusion,Pleural Effusion")
    with pytest.raises(InputError, match="findings names 'a,b', expected names without a comma"):
        TrainOptions(findings=["a,b"])
    with pytest.raises(InputError, match="findings is 3, expected a text or a list"):
        TrainOptions(findings=3)


def test_flags_have_the_defaults_of_the_options():
    program = click.Context(main, **main.context_settings)  # a command remembers its --help for all tests
    given = main.commands["train"].make_context("train", [], parent=program).params
    options = asdict(TrainOptions())
    assert set(given) - set(options) == {"as_json", "quiet"}
    for name in set(options) - {"backend", "workers", "size"}:  # found when it runs: what is installed, the network
        assert given[name] == options[name], name


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("epochs", 0, "1 or more"),
        ("learning_rate", 0.0, "above 0"),
        ("learning_rate", float("nan"), "above 0"),
        ("layer_decay", 0.0, "above 0 and up to 1"),
        ("layer_decay", 1.1, "above 0 and up to 1"),
        ("weight_decay", -0.1, "0 or more"),
        ("weight_decay", 100000, "removes the weights in one step"),
        ("clip_norm", -1.0, "0 or more"),
        ("augmentations", -1, "0 or more"),
        ("warmup", 81.0, "more than there are: 80"),
    ],
)
def test_a_number_out_of_range_is_refused(name, value, wanted):
    with pytest.raises(InputError, match=f"{name} (is )?{value}.*{wanted}"):
        TrainOptions(**{name: value})


def test_every_flag_stands_under_a_heading_of_the_help():
    help_text = click.Context(main.commands["train"], parent=click.Context(main, **main.context_settings)).get_help()
    for option in (flag for flag in FLAGS.values() if isinstance(flag, click.Option)):
        assert section_of(option) != "Options", option.name
        assert f"\n{section_of(option)}:\n" in help_text
        assert option.opts[-1] in help_text
