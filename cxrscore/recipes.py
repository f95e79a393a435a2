"""Recipes: the options of a training run as a TOML file, to be stored, changed and run again.

A recipe contains what decides the model, and nothing about the machine: no folder, device or number of workers. Options
of the command line override a recipe, and a recipe overrides the defaults.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from cxrscore.errors import InputError
from cxrscore.io.regular import read_regular

Value = str | int | float | bool
_NUMBER = (int, float)

OPTIONS: dict[str, type | tuple[type, ...]] = {
    "findings": str,
    "film_column": str,
    "patient_column": str,
    "uncertain": str,
    "blank": str,
    "weight_column": str,
    "backend": str,
    "architecture": str,
    "weights": str,
    "size": int,
    "normalize": str,
    "head": str,
    "activation": str,
    "solver": str,
    "folds": int,
    "min_positives": int,
    "learning_curve": bool,
    "test": _NUMBER,
    "trainable": str,
    "standardize": bool,
    "initial_head": str,
    "initial_bias": str,
    "loss": str,
    "epochs": int,
    "batch_size": int,
    "learning_rate": _NUMBER,
    "warmup": _NUMBER,
    "schedule": str,
    "layer_decay": _NUMBER,
    "weight_decay": _NUMBER,
    "clip_norm": _NUMBER,
    "batch_norm": str,
    "sampling": str,
    "drop_last": bool,
    "augmentations": int,
    "rotation": _NUMBER,
    "shift": _NUMBER,
    "shear": _NUMBER,
    "zoom": _NUMBER,
    "flip": bool,
    "monitor": str,
    "patience": int,
    "checkpoint_policy": str,
    "threshold_rule": str,
    "calibration": str,
    "seed": int,
    "precision": str,
}
"""Allowed options of a recipe: names of TrainOptions, and their types."""
LARGEST = 32 << 10
"""Largest size in bytes: parsing a crafted larger file could take tomllib minutes."""
_SHOWN = 100
"""Number of characters of a value that an error quotes."""


def packaged_recipes() -> dict[str, Path]:
    """The packaged recipes by name: within the package, and in examples/ in a checkout."""
    own = Path(__file__).parent
    folder = next(place for place in (own / "recipe_files", own.parent / "examples" / "recipes") if place.is_dir())
    return {path.stem: path for path in sorted(folder.glob("*.toml"), key=lambda path: path.stem)}


def find_recipe(name: str) -> Path:
    """The file for the name of a packaged recipe or for a path: a text that ends in .toml or contains a folder is a
    path. InputError that lists the packaged ones for an unknown name."""
    if name.endswith(".toml") or Path(name).name != name:
        return Path(name)
    known = packaged_recipes()
    if name not in known:
        raise InputError(f"there is no recipe {name!r}; there is: {', '.join(known)}. A file's name ends in .toml.")
    return known[name]


def read_recipe(path: Path) -> dict[str, Value]:
    """Read the options of a recipe. InputError for an invalid file, an unknown option, or a value of a wrong type."""
    try:
        data = read_regular(path, LARGEST)
        if data is None:
            raise InputError(f"{path} has more than {LARGEST:,} bytes, more than a recipe can have")
        values = tomllib.loads(data.decode())
    except OSError as error:
        raise InputError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    except ValueError:
        raise InputError(f"{path} is not a recipe: it contains a number of thousands of digits") from None
    except RecursionError:
        raise InputError(
            f"{path} is not a recipe: its values are nested too deep; expected one value per option"
        ) from None
    return {name: _checked(path, name, value) for name, value in values.items()}


def _checked(path: Path, name: str, value: Any) -> Value:
    if name not in OPTIONS:
        raise InputError(
            f"{path} has the option {_shortened(name)}, which is not allowed in a recipe; allowed are: "
            f"{', '.join(OPTIONS)}"
        )
    kinds = OPTIONS[name]
    if not isinstance(value, kinds) or isinstance(value, bool) != (kinds is bool):
        wanted = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
        raise InputError(f"{path}: {name} is {_shortened(value)}, expected {wanted}")
    return cast(Value, value)


def _shortened(value: Any) -> str:
    """A value as an error quotes it: tables and lists only in words, because they may be nested too deep for repr."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return repr(value)[:_SHOWN]


def recipe_toml(options: Mapping[str, Any], *, needs_weights: bool = True) -> str:
    """The recipe of these options as TOML; options that are not allowed in recipes, or that are None, are left out.
    Names in a tuple become one text with commas. Files that a run needs in addition are named in comments.

    needs_weights  False: ``weights`` is a word or the name of public weights, not that of a file
    """
    values = {name: options[name] for name in OPTIONS if options.get(name) not in (None, ())}
    needed = "".join(f"# Needs {words}\n" for words in _needed(options, needs_weights))
    return needed + "".join(f"{name} = {_toml(value)}\n" for name, value in values.items())


def _needed(options: Mapping[str, Any], needs_weights: bool) -> Iterator[str]:
    weights = options.get("weights", "none")
    if needs_weights and weights not in ("imagenet", "none"):
        yield f"--weights PATH, of the file {_toml(weights)}: a recipe contains no folder."
    if options.get("split"):
        yield "--split PATH, of the split.csv beside this file: the parts were given, not drawn."


def _toml(value: Value | tuple[str, ...]) -> str:
    """A JSON string or number is valid TOML, except for the one control character that JSON does not escape."""
    if isinstance(value, tuple):
        value = ",".join(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
