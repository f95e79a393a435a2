"""train, score and report as functions: the commands without printing, with the same defaults."""

import dataclasses
import inspect
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from made_models import made_films, made_model
from made_run import made_file

import cxrscore
from cxrscore.cli import main
from cxrscore.errors import InputError
from cxrscore.reporting import default_page, open_named_scores, write_report
from cxrscore.scoring import ScoreOptions
from cxrscore.subprocesses import child_environment
from cxrscore.synthetic.phantoms import make_phantoms
from cxrscore.training import TrainOptions

OF_THE_COMMAND_LINE = {"dry_run", "as_json", "quiet", "shard", "verbose"}
LISTS = {"findings", "trained_on"}
"""Options that are one comma-separated text on the command line, and a tuple in Python."""
CHOSEN_LATER = {"backend", "size"}


def command_default(command, option):
    found = option.get_default(click.Context(main.commands[command]))
    if type(found).__name__ == "Sentinel":  # what click has where there is none
        found = () if getattr(option, "multiple", False) else None
    return () if option.name in LISTS and not found else found


def command_defaults(command):
    return {
        option.name: command_default(command, option)
        for option in main.commands[command].params
        if option.name not in OF_THE_COMMAND_LINE and option.name != "help"
    }


@pytest.mark.parametrize(("command", "options"), [("train", TrainOptions), ("score", ScoreOptions)])
def test_defaults_are_those_of_the_command(command, options):
    made = options(**({"films": "films", "output": "out.h5"} if command == "score" else {}))
    fields = {field.name for field in dataclasses.fields(options)}
    for name, default in command_defaults(command).items():
        assert name in fields
        if name in CHOSEN_LATER or (command == "score" and name in ("films", "output")):
            continue
        if name == "model":
            default = tuple(default)
        assert getattr(made, name) == default, name
    signature = inspect.signature(getattr(cxrscore, command)).parameters
    for name in signature.keys() & command_defaults(command).keys():
        if signature[name].default is not inspect.Parameter.empty and name not in (*CHOSEN_LATER, "model"):
            default = command_defaults(command)[name]
            assert signature[name].default == (str(default) if isinstance(default, Path) else default), name


def test_defaults_of_a_report_are_those_of_the_command():
    functions = (open_named_scores, write_report, cxrscore.report)
    parameters = {name: one for call in functions for name, one in inspect.signature(call).parameters.items()}
    for name, default in command_defaults("report").items():
        if name not in ("scores", "output", "labels"):
            assert parameters[name].default in (default, ()), name


def test_options_are_keyword_only():
    for function, allowed in ((cxrscore.train, 1), (cxrscore.score, 2), (cxrscore.report, 2), (cxrscore.load, 1)):
        kinds = [one.kind for one in inspect.signature(function).parameters.values()]
        assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) == allowed


def test_a_misspelt_option_is_named_with_the_right_one(tmp_path):
    with pytest.raises(TypeError, match=r"train\(\) got an unexpected option 'epoch'; did you mean 'epochs'\?"):
        cxrscore.train(tmp_path, epoch=3)
    with pytest.raises(TypeError, match=r"score\(\) got an unexpected option 'nonsense'"):
        cxrscore.score(tmp_path, tmp_path / "out.h5", nonsense=3)
    with pytest.raises(TypeError, match="nonsense"):
        cxrscore.report(made_file(tmp_path / "out.h5"), nonsense=3)


def test_train_score_and_report_in_turn(tmp_path, capfd):
    make_phantoms(tmp_path, films=24, patients=None, side=64, seed=0)
    said = []
    trained = cxrscore.train(
        str(tmp_path / "films"),
        output=str(tmp_path / "model.safetensors"),
        backend="torch",
        architecture="tinycnn",
        weights="none",
        size=32,
        trainable="all",
        epochs=2,
        log=said.append,
    )
    assert trained.output == tmp_path / "model.safetensors"
    assert any("films:" in line for line in said)
    made = cxrscore.score(tmp_path / "films", str(tmp_path / "out.h5"), model=str(trained.output), backend="torch")
    assert (made.n_films, made.scored, made.failed) == (24, 24, ())
    numbers = cxrscore.report(str(tmp_path / "out.h5"), resamples=0)
    assert numbers["output"] == str(tmp_path / "out.html")
    assert (tmp_path / "out.html").exists()
    assert tuple(capfd.readouterr()) == ("", "")
    both = cxrscore.report([tmp_path / "out.h5", tmp_path / "out.h5"], tmp_path / "two.html", resamples=0)
    assert both["output"] == str(tmp_path / "two.html")


def test_a_recipe_gives_options_and_arguments_come_before_it(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("cxrscore.training.train_model", lambda options, *rest, **more: seen.append(options))
    recipe = tmp_path / "own.toml"
    recipe.write_text('backend = "torch"\nepochs = 7\nbatch_size = 3\n')
    cxrscore.train("films", recipe=recipe, epochs=9)
    assert (seen[0].backend, seen[0].epochs, seen[0].batch_size, seen[0].recipe) == ("torch", 9, 3, recipe)
    cxrscore.train("films", recipe="fine-tune", backend="keras")
    assert seen[1].backend == "keras"
    with pytest.raises(InputError):
        cxrscore.train("films", recipe="no-such")


def test_nothing_to_report_is_an_error():
    with pytest.raises(InputError, match="no scores are named"):
        cxrscore.report([])


def test_the_page_of_a_url_is_in_the_current_folder():
    assert default_page("https://host/a/out.h5?token=1") == Path("out.html")
    assert default_page("somewhere/out.h5") == Path("somewhere/out.html")


def test_functions_are_not_shadowed_by_modules_and_load_late():
    program = """
import sys, cxrscore
assert not [name for name in sys.modules if name in ("numpy", "matplotlib", "sklearn", "torch")]
import cxrscore.cli, cxrscore.cli.score, cxrscore.scoring, cxrscore.training, cxrscore.reporting
for name in ("load", "train", "score", "report"):
    assert name in cxrscore.__all__ and callable(getattr(cxrscore, name))
"""
    done = subprocess.run([sys.executable, "-c", program], env=child_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_loading_a_model_imports_no_plots_and_no_training(tmp_path):
    model = made_model(tmp_path / "m", 1)
    films = made_films(tmp_path / "films")
    program = f"""
import sys, cxrscore
cxrscore.load({os.fspath(model)!r}, backend="torch").predict({os.fspath(films / "000.png")!r})
print([name for name in ("matplotlib", "jinja2", "cxrscore.training", "cxrscore.reporting") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], env=child_environment(), capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
