"""What the documentation site needs besides MkDocs and its plugins.

* Files of the repository's root, and other files outside of docs/ that a page links to, become part of the site.
* docs/api.md lists the public names.
* A page that would load something from another server is a warning.
* Examples in the help of a command become blocks of code, and an option without a default has an empty cell.
"""

from __future__ import annotations

import inspect
import logging
import posixpath
import re
import textwrap
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import cxrscore
from cxrscore.cli import main

LOG = logging.getLogger("mkdocs.hooks.cxrscore")
ROOT = Path(__file__).parents[2]
PAGES = ("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md")
"""Files of the repository's root that are pages of the site, too."""
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)#\s]+)")
PUBLIC_NAMES = "<!-- public names -->"


def on_config(config: Any) -> Any:
    for command in (main, *main.commands.values()):
        command.help = with_code_blocks(command.help or "")
    return config


def with_code_blocks(text: str) -> str:
    """The help of a command; paragraphs that click prints as they are, those after a backspace, become code."""
    parts = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(code_block(part) if part.startswith("\b") else part for part in parts)


def code_block(part: str) -> str:
    lines = part.lstrip("\b\n").splitlines()
    title = [] if lines[0].startswith((" ", "cxrscore")) else [lines.pop(0), ""]
    return "\n".join([*title, "```sh", *textwrap.dedent("\n".join(lines)).splitlines(), "```"])


def on_page_content(html: str, *, page: Any, config: Any, files: Files) -> str:
    """mkdocs-click shows click's marks of an absent default; the help of such an option says what happens."""
    if page.file.src_uri != "commands.md":
        return html
    return re.sub(r"<td>(None|<code>(Sentinel\.UNSET|None)</code>)</td>", "<td></td>", html)


def on_post_page(output: str, *, page: Any, config: Any) -> str:
    for found in re.findall(
        r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=[\"']?(https?:[^\"'\s>]+)", output
    ):
        LOG.warning("%s loads %s: put the file into docs/, or drop it", page.file.src_uri, found)
    return output


def on_files(files: Files, *, config: Any) -> Files:
    """Adds the pages of the root, and every file outside of docs/ that a page links to."""
    for name in PAGES:
        files.append(File.generated(config, name, content=(ROOT / name).read_text(encoding="utf-8")))
    for page in list(files.documentation_pages()):
        for target in linked_files(page.content_string, page.src_uri):
            if files.get_file_from_path(target) is None and (ROOT / target).is_file():
                files.append(File.generated(config, target, abs_src_path=str(ROOT / target)))
    return files


def linked_files(text: str, page: str) -> list[str]:
    """The files of the repository, outside of docs/, to which a page links."""
    return [path for _, target in LINK.findall(text) if (path := outside(target, page))]


def outside(target: str, page: str) -> str:
    """The path, from the repository's root, of a link that leads out of docs/; else an empty text."""
    folder = "" if page in PAGES else "docs"
    path = posixpath.normpath(posixpath.join(folder, posixpath.dirname(page), target))
    return "" if path.startswith(("docs/", "..")) else path


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Makes links to files outside of docs/, and from the pages of the root into docs/, links within the site."""
    if PUBLIC_NAMES in markdown:
        markdown = markdown.replace(PUBLIC_NAMES, public_names())
    name = page.file.src_uri
    if name in PAGES:
        return re.sub(r"(\]\()docs/", r"\1", markdown)
    return LINK.sub(lambda found: found[1] + (site_path(found[2], name, files) or found[2]), markdown)


def site_path(target: str, page: str, files: Files) -> str:
    path = outside(target, page)
    if not path or files.get_file_from_path(path) is None:
        return ""
    return posixpath.relpath(path, posixpath.dirname(page) or ".")


def public_names() -> str:
    """A mkdocstrings block for each name of ``cxrscore.__all__``, from the module that it is loaded from."""
    return "\n\n".join(f"::: {home}.{name}" for name, home in cxrscore._HOMES.items())
