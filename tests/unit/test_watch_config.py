"""The configuration of a watch: what is wrong is named with its key, and every option of the commands can be given."""

import datetime
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from made_watch import made_config

from cxrscore.cli import main
from cxrscore.errors import InputError
from cxrscore.io.strict_json import schema
from cxrscore.watching import config as watch_config
from cxrscore.watching import read_config, with_dates
from cxrscore.watching.config import export_options

EXAMPLES = Path(__file__).parents[2] / "examples" / "watch"
PACS = "dicomweb+https://host/dicom-web/?Modality=DX&"
TWO_EXPORTS = """[[export]]
to = "csv"
output = "x"
[[export]]
to = "csv"
output = "y/../x"
all_columns = true
"""
NOT_IN_A_WATCH = {
    "score": {
        *("output", "model", "shard", "executor", "processes", "address", "overwrite", "rehash", "temp_dir", "dry_run"),
    },
    "export": {"overwrite", "feature_map"},
    "report": {
        *("overwrite", "figures", "figure_format", "pdf", "labels", "film_column", "patient_column", "uncertain"),
        *("blank", "allow_unmatched"),
    },
}
"""Options that the watch decides, or that are of one file."""
OF_ALL = {"json", "quiet", "verbose"}


@pytest.mark.parametrize(
    ("changed", "text", "message"),
    [
        ({"colour": 1}, "", "has the key 'colour', expected one of: films, model, output"),
        ({"interval": "60"}, "", "interval is '60', expected a number of at least 1"),
        ({"retries": 31}, "", "retries is 31, expected a whole number of at least 0 and at most 30"),
        ({"model": 3}, "", "model is 3, expected a text, not empty or a list of these"),
        ({"model": []}, "", "model is a list, expected a text, not empty or a list"),
        ({"films": ""}, "", "films is '', expected a text"),
        ({}, "score = 1", "score is 1, expected a table"),
        ({}, "[score]\ncolour = 1", "score has the key 'colour', expected one of: allow_unmatched"),
        ({}, "[score]\nheatmaps = true", r"score\.heatmaps is True, expected a whole number"),
        ({}, "[score]\nheatmaps = -1", "heatmaps is -1, expected 0 or more"),
        ({}, "[score]\nanonymize_paths = 1", r"score\.anonymize_paths is 1, expected true or false"),
        ({}, "[score]\nprocesses = 2", r"'processes' \(a watch is one process\)"),
        ({}, '[score]\noutput = "x"', "score has the key 'output'"),
        ({}, '[[export]]\noutput = "x"', "export 1 lacks the key 'to'"),
        ({}, '[[export]]\nto = "csv"', "export 1: .*output"),
        ({}, '[[export]]\nto = "csv"\noutput = 3', r"export 1\.output is 3, expected a path"),
        ({}, '[[export]]\nto = "csv"\noutput = "x"\nwith_patient = true', "export 1: --with-patient has no meaning"),
        ({}, '[[export]]\nto = "csv"\noutput = "films/csv"', "folder of export 1 to csv is below the films"),
        ({}, "[report]\nresamples = 0", "report lacks the key 'output'"),
        ({}, '[report]\noutput = "x"\ncolour = 1', "report has the key 'colour', expected one of: bounding_boxes"),
        ({"output": "films/out"}, "", "folder of output is below the films"),
        ({}, "films", "is not TOML"),
        ({"interval": 1e9}, "", r"interval is 1000000000\.0, expected a number of at least 1 and at most 604800"),
        ({}, "interval = inf", "interval is inf, expected a finite number"),
        ({}, "interval = nan", "interval is nan, expected a finite number"),
        (
            {},
            "[score.target_prevalence]\nMass = nan",
            r"score\.target_prevalence\.Mass is nan, expected a finite number",
        ),
        ({"films": "a\0b"}, "", "films has a zero character"),
        ({"output": "~no-such-user/out"}, "", "output begins with '~' and no user's folder"),
        ({"output": "s3://bucket/out"}, "", "output is a URL, expected a path on this machine"),
        ({"model": ["https://host/m.safetensors"]}, "", "model is a URL, expected a path on this machine"),
        ({}, '[[export]]\nto = "csv"\noutput = "s3://bucket/csv"', r"export 1\.output is a URL, expected a path"),
        ({}, '[report]\noutput = "https://host/reports"', r"report\.output is a URL, expected a path"),
        ({}, '[export]\nto = "csv"', r"export is a table, expected tables, each below a line \[\[export\]\]"),
        ({}, '[[export]]\nto = "xls"\noutput = "x"', "to is 'xls', expected one of: csv, json, parquet, dicom"),
        ({}, '[[export]]\nto = "csv"\nlayout = "x"\noutput = "x"', "layout is 'x', expected one of: plain, peer"),
        ({}, '[score]\nprecision = "fp99"', r"precision is 'fp99', expected one of: fp32, bf16, int8"),
        ({}, "[score]\nbatch-size = 3\nbatch_size = 4", "'batch_size', another name of one that it has already"),
        ({}, TWO_EXPORTS, "export 2 to csv writes the files of export 1 to csv, expected another folder than"),
        (
            {"films": f"{PACS}StudyDate=tomorrow"},
            "",
            "StudyDate in the query is not a date .*or one of today, yesterday",
        ),
        (
            {"films": f"{PACS}StudyDate=last+12345+days"},
            "",
            "StudyDate in the query is not a date .*or one of today, yesterday",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_key_and_what_was_expected(tmp_path, changed, text, message):
    with pytest.raises(InputError, match=message) as caught:
        made_config(tmp_path, text, **changed)
    assert "watch.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_keys_and_files_are_named(tmp_path):
    (tmp_path / "watch.toml").write_text('model = "m"\noutput = "out"')
    with pytest.raises(InputError, match="lacks the key 'films', expected the folder of films"):
        read_config(tmp_path / "watch.toml")
    with pytest.raises(InputError, match="No such file"):
        read_config(tmp_path / "none.toml")
    (tmp_path / "watch.toml").write_bytes(b"#" * (1 << 17))
    with pytest.raises(InputError, match="more than 65,536 bytes"):
        read_config(tmp_path / "watch.toml")


@pytest.mark.parametrize("place", ["films", "stow"])
def test_a_password_is_refused_and_not_repeated(tmp_path, place):
    url = "https://user:canary@host/films"
    changed = {"films": url} if place == "films" else {}
    text = "" if place == "films" else f'[[export]]\nto = "csv"\noutput = "{url}"'
    with pytest.raises(InputError, match="a URL with a user or password") as caught:
        made_config(tmp_path, text, **changed)
    assert "canary" not in str(caught.value)


def test_paths_are_below_the_folder_of_the_file_and_options_have_the_names_of_the_commands(tmp_path):
    text = '[score]\nany-modality = true\ntta = 2\ntarget_prevalence = { Mass = 0.1 }\nfinding = ["Mass=M"]\n'
    text += '[[export]]\nto = "csv"\nall-columns = true\noutput = "csv"\n[report]\noutput = "/r"\ngroup_by = "sex"\n'
    own = made_config(tmp_path, text, model=["a", "b"])
    assert own.location(datetime.date.today()) == tmp_path / "films"
    given = own.score_options(own.output / "scores.h5", datetime.date.today())
    assert (given.models, given.tta, given.any_modality) == ((tmp_path / "a", tmp_path / "b"), 2, True)
    assert (given.findings, dict(given.target_prevalence.values)) == (("Mass=M",), {"Mass": 0.1})
    export = export_options(own.exports[0], own.output / "scores-1.h5")
    assert (export.output, export.every_column) == (tmp_path / "csv" / "scores-1.csv", True)
    assert (own.report.folder, own.report.options) == (Path("/r"), {"group_by": "sex"})
    films = made_config(tmp_path, '[[export]]\nto = "dicom-sr"\noutput = "sr"').exports[0]
    assert export_options(films, Path("s.h5")).films == tmp_path / "films"
    assert export_options(films, Path("s.h5")).output == tmp_path / "sr" / "s"


def test_a_label_table_among_the_films_does_not_keep_new_films_from_being_scored(tmp_path):
    def options(text=""):
        own = made_config(tmp_path, f"[score]\n{text}")
        return own.score_options(own.output / "scores.h5", datetime.date.today())

    assert options().no_labels
    named = options('labels = "labels.csv"\n')
    assert (named.labels, named.no_labels, named.allow_unmatched) == (tmp_path / "labels.csv", False, True)
    assert not options("allow_unmatched = false\n").allow_unmatched


@pytest.mark.parametrize("command", ["score", "export", "report"])
def test_every_option_of_a_command_can_be_given_or_is_one_of_those_that_the_watch_decides(command, monkeypatch):
    allowed = set()
    monkeypatch.setattr(
        watch_config, "_checked", lambda *given: allowed.update(given[-1]) or {"output": Path(), "kind": "csv"}
    )
    monkeypatch.setattr(watch_config, "export_options", lambda *given: type("Options", (), {"chosen_kind": str})())
    {
        "score": lambda: watch_config._score_options(Path(), Path(), {}),
        "export": lambda: watch_config._export(Path(), Path(), "films", {}, 1),
        "report": lambda: watch_config._report(Path(), Path(), {}),
    }[command]()
    known = allowed | {key for key, name in watch_config._ALIASES[command].items() if name in allowed}
    options = [
        max(one.opts, key=len)[2:].replace("-", "_") for one in main.commands[command].params if one.opts[0][:1] == "-"
    ]
    assert len(options) > 5
    assert set(options) - known - OF_ALL == NOT_IN_A_WATCH[command]


def test_words_for_dates_are_dates_in_each_round(tmp_path):
    day = datetime.date(2026, 3, 1)
    assert with_dates("a?Modality=DX&StudyDate=yesterday", day) == "a?Modality=DX&StudyDate=20260228"
    assert with_dates("StudyDate=last%203%20days", day) == "StudyDate=20260227-20260301"
    assert with_dates("StudyDate=todays&Name=today", day) == "StudyDate=todays&Name=today"
    own = made_config(tmp_path, films="dicomweb+http://host/dicom-web/?StudyDate=last+2+days")
    assert own.location(day).url == "dicomweb+http://host/dicom-web/?StudyDate=20260228-20260301"


def test_the_schema_is_valid_and_describes_each_key():
    Draft202012Validator.check_schema(schema("watch"))
    assert all(one["description"] for one in schema("watch")["properties"].values())


@pytest.mark.parametrize("name", ["watch.toml", "watch-container.toml"])
def test_the_examples_are_configurations(name):
    own = read_config(EXAMPLES / name)
    assert own.output.is_absolute()
    assert len(own.exports) == 1
    # What is commented out can be given, too; each of its lines is a key or a table.
    lines = [line.removeprefix("# ") for line in (EXAMPLES / name).read_text().splitlines()]
    assert "[score]" in lines


def test_the_tables_that_the_example_leaves_out_can_be_given(tmp_path):
    text = (EXAMPLES / "watch.toml").read_text()
    extra = text[text.index("# [[export]]") :].replace("# [[", "[[").replace("# [report", "[report")
    extra = extra.replace("# to", "to").replace("# output", "output")
    (tmp_path / "watch.toml").write_text(text[: text.index("# [[export]]")] + extra)
    own = read_config(tmp_path / "watch.toml")
    assert [one.name for one in own.exports] == ["export 1 to csv", "export 2 to dicom-sr"]
    assert own.report is not None


def test_the_service_is_hardened_and_runs_a_command_that_there_is():
    lines = (EXAMPLES / "cxrscore-watch.service").read_text().splitlines()
    keys = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert keys["ExecStart"].split()[1] in main.commands
    wanted = {"ProtectSystem": "strict", "NoNewPrivileges": "yes", "Restart": "on-failure", "SuccessExitStatus": "143"}
    assert {name: keys[name] for name in wanted} == wanted
    assert read_config(EXAMPLES / "watch.toml").output.is_relative_to(f"/var/lib/{keys['StateDirectory']}")
    assert not [line for line in lines if "password" in line.lower() and not line.startswith("#")]


def test_systemd_accepts_the_service(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = (EXAMPLES / "cxrscore-watch.service").read_text()
    (tmp_path / "cxrscore-watch.service").write_text(text.replace("/opt/cxrscore/bin/cxrscore", shutil.which("true")))
    line = ["systemd-analyze", "verify", "--man=no", tmp_path / "cxrscore-watch.service"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, [one for one in done.stderr.splitlines() if "cxrscore" in one]) == (0, [])


def test_the_compose_file_mounts_what_the_configuration_names():
    service = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())["services"]["watch"]
    assert f"--tag {service['image']} ." in (EXAMPLES.parents[1] / "docs" / "container.md").read_text()
    assert service["command"][0] in main.commands
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["hostname"]  # without it, each new container is another machine, and respects the lock of the last
    mounted = {volume.split(":")[1]: volume.endswith(":ro") for volume in service["volumes"]}
    own = read_config(EXAMPLES / "watch-container.toml")
    assert mounted[own.films]
    assert mounted[str(own.model[0].parent)]
    # A new volume has the owner of the folder of the image under it: another folder would belong to root.
    assert f"chown {service['user']} /work\n" in (EXAMPLES.parents[1] / "Containerfile").read_text()
    assert mounted["/work"] is False
    assert {own.output.parent, own.exports[0].folder.parent} == {Path("/work")}
    assert mounted[service["command"][1]]
