"""The docs leave out nothing that there is, name nothing that there is not, and their code runs."""

import ast
import importlib.util
import inspect
import re
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace

import click
import pytest

from cxrscore import contract, testing
from cxrscore.cli import main
from cxrscore.distributions import PluginEntryPoint
from cxrscore.plugin_values.descriptors import HOOKS, KINDS
from cxrscore.plugins import Registry, plugin_table
from cxrscore.testing import ExplainerCases, LossCases, MetricCases, cases, run_cases

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TOOLS = ROOT / "tools" / "docs"
SOURCES = [*(ROOT / "cxrscore").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
OUTSIDE = [*ROOT.glob("*.md"), *(ROOT / "examples").glob("*/README.md")]
WRITTEN = [*DOCS.glob("*.md"), *OUTSIDE]
"""Pages that people read."""


def generator():
    spec = importlib.util.spec_from_file_location("docs_generate", TOOLS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(TOOLS))  # where Python has it for a script
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(TOOLS))
    return module


PAGES = generator().pages()


def section(page, title):
    """The text under a heading, up to the next of its rank or above."""
    text = (DOCS / page).read_text()
    rank = re.match("#+", title)[0]
    found = re.search(rf"^{re.escape(title)}$(.*?)(?=^#{{1,{len(rank)}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/{page} has no section {title!r}: run python tools/docs/generate.py"
    return found[1]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_are_up_to_date(path):
    assert path.read_text() == PAGES[path], f"{path.name} is not up to date: run python tools/docs/generate.py"


def test_every_page_is_in_the_index_and_the_index_in_the_readme():
    index = (DOCS / "README.md").read_text()
    assert {path.name for path in DOCS.glob("*.md")} - {"README.md"} <= set(re.findall(r"\]\((\S+)\)", index))
    assert "(docs/README.md)" in (ROOT / "README.md").read_text()


# --- nothing is left out


def test_every_hook_and_class_of_the_contract_is_there():
    hooks = {name for name in vars(contract.Hooks) if name.startswith("cxrscore_")}
    assert hooks == set(HOOKS) == set(KINDS)
    for name in hooks:
        assert inspect.getdoc(getattr(contract.Hooks, name))
        assert f"`{name}`" in (DOCS / "plugins.md").read_text()
    page = (DOCS / "contract.md").read_text()
    listed = re.findall(r"^::: cxrscore\.contract\.(\w+)$", page, re.MULTILINE)
    for name, value in vars(contract).items():
        if inspect.isclass(value) and value.__module__ == contract.__name__:
            assert name in listed
            assert value.__doc__
    for name in set(listed) - {"Hooks"}:
        assert f"::: cxrscore.contract.{name}" in section("contract.md", f"### {name}")


@pytest.mark.parametrize("name", main.commands)
def test_every_command_and_option_has_help(name):
    command = main.commands[name]
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"cxrscore {name} {option.opts[-1]} has no help"


def test_every_error_class_is_there_with_its_exit_code():
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    family = {"CxrscoreError"}
    while more := {name for name, parents in bases.items() if parents & family} - family:
        family |= more
    text = section("reference.md", "## Errors and exit codes")
    assert {name for name in family if f"`{name}`" in text} == family
    codes = set(re.findall(r"(\d+) [a-z]", main.help.partition("Exit codes: ")[2]))
    assert codes == set(re.findall(r"^\| (\d+) ", text, re.MULTILINE))


def test_every_environment_variable_is_there():
    text = section("reference.md", "## Environment variables")
    source = "\n".join(path.read_text() for path in SOURCES)
    read = set(re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"(?!\] =)", source)) | set(
        re.findall(r"CXRSCORE_[A-Z]+(?:_[A-Z]+)*", source)
    )
    named = set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE))
    assert read <= named
    assert all(name in source for name in named)


def test_every_case_is_there():
    text = (DOCS / "conformance.md").read_text()
    for name in testing.__all__:
        if name.endswith("Cases"):
            section("conformance.md", f"## {name}")
            for case in cases(getattr(testing, name)):
                assert case.text
                assert f"**{case.number} {case.title}.**" in text


def test_every_field_of_every_schema_is_described():
    assert {path.name.split(".")[0] for path in (ROOT / "schemas").glob("*.schema.json")} == set(
        generator().files_page.SCHEMAS
    )
    rows = re.findall(r"^\| `(.*?)` \| (.*?) \| (.*?) \|$", (DOCS / "files.md").read_text(), re.MULTILINE)
    assert len(rows) > 100
    assert [path for path, kind, meaning in rows if not kind or not meaning] == []


# --- nothing is there that is not


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    """`mkdocs build --strict` checks the links of docs/."""
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text()):
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{path.name} links to {target}"
        if anchor and ":::" not in file.read_text():
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}, target


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_command_lines_are_of_commands_that_there_are(path):
    text = path.read_text()
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    inline = "\n".join(re.findall(r"`(cxrscore [^`]*)`", text))
    for name, rest in re.findall(r"^cxrscore ([a-z]+)((?: [^#\n]*)?)", f"{blocks}\n{inline}", re.MULTILINE):
        assert name in main.commands, f"{path.name}: cxrscore {name}"
        known = {word for option in main.commands[name].params for word in option.opts} | {"--help"}
        assert set(re.findall(r"(?<!\S)--?[a-z-]+", rest)) <= known, f"{path.name}: cxrscore {name}{rest}"


FIRST = "from examples/third_party_metric/cxrscore_f1.py"
"""The block of the first plugin of plugins.md."""


def block(name):
    """The block of code after <!-- name -->."""
    return re.search(rf"<!-- {name} -->\n```\w*\n(.*?)```", (DOCS / "plugins.md").read_text(), re.DOTALL)[1]


@pytest.fixture
def written(monkeypatch):
    """The plugin of a block of plugins.md, loaded as if it were installed."""

    def load(name):
        module = ModuleType("cxrscore_f1")
        exec(block(name), vars(module))  # noqa: S102 - our own docs
        monkeypatch.setitem(sys.modules, module.__name__, module)
        point = metadata.EntryPoint("f1", module.__name__, "cxrscore")
        vars(point)["dist"] = SimpleNamespace(name="cxrscore-f1", version="1.0.0")
        (plugin,) = Registry([PluginEntryPoint(point=point)]).plugins
        assert plugin.state == "ok", plugin.reason
        return plugin

    return load


def test_the_first_file_is_listed_as_shown(written):
    assert plugin_table([written(FIRST)]) == block("the listing").strip()


@pytest.mark.parametrize(
    ("name", "kind", "kit"),
    [(FIRST, "metric", MetricCases), ("the loss", "loss", LossCases), ("the explainer", "explainer", ExplainerCases)],
)
def test_the_short_examples_pass_the_kit(written, name, kind, kit):
    (descriptor,) = written(name).provides["cxrscore_losses" if kind == "loss" else f"cxrscore_{kind}s"]
    assert f"cxrscore check {kind}:{descriptor.name}" in (DOCS / "plugins.md").read_text()
    outcomes = run_cases(kit, **{kind: descriptor})
    assert {outcome.number: outcome.reason for outcome in outcomes if outcome.status == "failed"} == {}


def test_examples_keep_to_the_names_of_the_convention():
    for folder in (ROOT / "examples").glob("third_party_*"):
        (module,) = folder.glob("*.py")
        project = (folder / "pyproject.toml").read_text()
        assert f'name = "{module.stem.replace("_", "-")}"' in project
        assert module.stem.startswith("cxrscore_")
        assert len(module.read_text().splitlines()) <= 110  # a reader sees all of it
