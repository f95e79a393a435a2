"""Writes analyse_scores.ipynb from analyse_scores.py, so that the two say the same.

    python examples/make_notebook.py

Cells of the script begin with "# %%", those of text with "# %% [markdown]".
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("analyse_scores.py")
NOTEBOOK = SCRIPT.with_suffix(".ipynb")


def notebook(script: str) -> str:
    """The notebook, nbformat 4.5, without outputs."""
    parts = re.split(r"^# %%( \[markdown\])?\n", script, flags=re.MULTILINE)
    cells = [
        cell(number, bool(mark), text) for number, (mark, text) in enumerate(zip(parts[1::2], parts[2::2], strict=True))
    ]
    about = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    whole = {
        "cells": cells,
        "metadata": {**about, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def cell(number: int, is_text: bool, text: str) -> dict[str, Any]:
    if is_text:
        text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
    source = text.strip().splitlines(keepends=True)
    own = {"cell_type": "markdown"} if is_text else {"cell_type": "code", "execution_count": None, "outputs": []}
    return {**own, "id": f"cell-{number}", "metadata": {}, "source": source}


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(SCRIPT.read_text()))
