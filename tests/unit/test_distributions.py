"""Which of several distributions called cxrscore is the one that holds this package."""

import json
from importlib import metadata

import pytest

from cxrscore import distributions
from cxrscore.distributions import plugin_entry_points
from cxrscore.registry import Registry


def install(folder, name="cxrscore", points="builtin = cxrscore.builtin", record=(), url=None):
    """The metadata of a distribution, as installers leave them."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[cxrscore]\n{points}\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in record))
    if url is not None:
        (info / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": {"editable": True}}))
    return folder


def wheel(folder):
    """The package with its metadata, as pip installs a wheel."""
    (folder / "cxrscore").mkdir(parents=True)
    (folder / "cxrscore" / "__init__.py").touch()
    return install(folder, record=["cxrscore/__init__.py"])


def by_pth(folder):
    source = folder / "source"
    (source / "cxrscore").mkdir(parents=True)
    (source / "cxrscore" / "__init__.py").touch()
    (folder / "_cxrscore.pth").write_text(f"{source}\n")
    return install(folder, record=["_cxrscore.pth"])


def by_url(folder):
    source = folder / "with space"
    (source / "cxrscore").mkdir(parents=True)
    (source / "cxrscore" / "__init__.py").touch()
    return install(folder, url=source.as_uri())


def package(folder):
    return next(path.parent for path in folder.rglob("cxrscore/__init__.py"))


@pytest.fixture
def on_path(monkeypatch):
    search = metadata.distributions

    def use(*folders, package):
        monkeypatch.setattr(metadata, "distributions", lambda: search(path=[str(folder) for folder in folders]))
        monkeypatch.setattr(distributions, "_PACKAGE", package.resolve())
        return {(found.point.name, found.own, found.impostor) for found in plugin_entry_points()}

    return use


@pytest.mark.parametrize("kind", [wheel, by_pth, by_url])
def test_one_that_only_has_the_name_is_none_of_ours_though_it_comes_first(tmp_path, on_path, kind):
    real, other = kind(tmp_path / "real"), install(tmp_path / "other", points="fast = fast_module")
    wanted = {("builtin", True, False), ("fast", False, True)}
    assert on_path(other, real, package=package(real)) == wanted
    assert on_path(real, other, package=package(real)) == wanted


def test_it_is_listed_and_never_loaded(tmp_path, on_path):
    real, other = wheel(tmp_path / "real"), install(tmp_path / "other", name="CXRscore", points="fast = antigravity")
    on_path(other, real, package=package(real))
    plugins = {plugin.name: plugin for plugin in Registry(plugin_entry_points()).plugins}
    assert (plugins["builtin"].state, plugins["fast"].state) == ("ok", "name conflict")
    assert "does not contain this package" in plugins["fast"].reason


def test_a_source_tree_before_an_installed_one_leaves_its_entry_points(tmp_path, on_path):
    real, other = wheel(tmp_path / "real"), install(tmp_path / "other", points="fast = fast_module")
    found = on_path(other, real, package=tmp_path / "checkout" / "cxrscore")
    assert found == {("builtin", True, False), ("fast", False, True)}


def test_the_same_distribution_twice_is_one(tmp_path, on_path):
    one, two = wheel(tmp_path / "one"), wheel(tmp_path / "two")
    assert on_path(one, two, package=package(two)) == {("builtin", True, False)}


def test_of_other_names_the_first_on_the_path_counts(tmp_path, on_path):
    folders = [install(tmp_path / each, "cxrscore_fast", f"{each} = fast_module") for each in ("new", "old")]
    real = wheel(tmp_path / "real")
    assert on_path(*folders, real, package=package(real)) == {("builtin", True, False), ("new", False, False)}
