"""The tables of docs/benchmarks.md on GPUs, from records of benchmarks/gpu.sh: docs/gpu.json, one for each machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markdown_text import table

RECORDS = Path(__file__).parents[2] / "docs" / "gpu.json"
NONE = "No GPU was at hand: nothing was run on one, no figure of one is claimed, and every target below is open."

Record = Mapping[str, Any]


def records() -> list[Record]:
    """Those with a GPU first."""
    found: list[Record] = json.loads(RECORDS.read_text(encoding="utf-8"))["runs"] if RECORDS.exists() else []
    return sorted(found, key=lambda one: (not one["machine"]["gpus"], one["small"], machine_name(one)))


def add(path: Path) -> None:
    """Puts the record of a run in place of an earlier one of the same machine."""
    new = json.loads(path.read_text(encoding="utf-8"))
    if missing := {"machine", "versions", "kit", "seconds"} - new.keys():
        raise SystemExit(f"{path} lacks {', '.join(sorted(missing))}: the run did not get so far")
    kept = [one for one in records() if (machine_name(one), one["small"]) != (machine_name(new), new["small"])]
    RECORDS.write_text(json.dumps({"runs": [*kept, new]}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine_name(record: Record) -> str:
    machine = record["machine"]
    gpus = [one["name"] for one in machine["gpus"]] if record["device"] != "cpu" else []
    if not gpus:
        return f"{machine['processor']}, no GPU"
    return f"{gpus[0]}" if len(gpus) == 1 else f"{len(gpus)} x {gpus[0]}"


def gpu(found: Sequence[Record]) -> str:
    """Targets, and every machine with what was run there, and what was not, and why."""
    measured = [one for one in found if one["device"] != "cpu" and not one["small"]]
    parts = [] if measured else [NONE]
    parts += [_targets(measured), *(part for one in found for part in _machine(one))]
    return "\n\n".join(parts)


def _targets(measured: Sequence[Record]) -> str:
    heads = ("what", "target", *(machine_name(one) for one in measured), *([] if measured else ["measured"]))
    rows = []
    for what, sign, target, unit, path in TARGETS:
        values = [_judged(_figure(one, *path), sign, target, unit) for one in measured] or ["not run"]
        rows.append((what, f"{sign} {target:g}{unit}", *values))
    return table(heads, *rows)


_DENSENET = "densenet121 400 px {}, batch 64"
TARGETS: tuple[tuple[str, str, float, str, tuple[str, str, str]], ...] = (
    *(
        (f"DenseNet121, 400 px, {words}: network / best plain torch code", "≥", 0.95, "", ("network", name, "ratio"))
        for words, name in (
            ("fp32", _DENSENET.format("fp32")),
            ("TF32", _DENSENET.format("tf32")),
            ("bf16", _DENSENET.format("bf16")),
            ("bf16, both compiled", f"{_DENSENET.format('bf16')}, torch.compile"),
        )
    ),
    (
        "DenseNet121, 400 px, bf16: bare network",
        *("≥", 3000.0, " films/s", ("network", _DENSENET.format("bf16"), "cxrscore graph")),
    ),
    (
        "PNG to scores: GPU busy, unless decoding is the limit",
        *("≥", 0.9, "", ("pipeline", "PNG, 16 decoder processes", "gpu_busy")),
    ),
    (
        "14 maps of each film / no maps, time",
        "≤",
        1.05,
        "",
        ("maps", "network and maps from host memory", "time_ratio"),
    ),
    *(
        (f"step of fine-tuning, {precision} / plain torch code, time", "≤", 1.0, "", ("training", name, "time_ratio"))
        for precision, name in (("bf16", "step, bf16, batch 16"), ("fp32", "step, fp32, batch 16"))
    ),
)
"""What, sign, target, unit, and where the record has it: section, step, key."""


def _figure(record: Record, section: str, step: str, key: str) -> Any:
    """The figure, and what limits the run if the step says so; None if it was not measured."""
    result = record["sections"][section]["steps"].get(step, {}).get("result", {})
    return None if result.get(key) is None else (result[key], result.get("limit"))


def _judged(found: Any, sign: str, target: float, unit: str) -> str:
    if found is None:
        return "not run"
    value, limit = found
    met = value >= target if sign == "≥" else value <= target
    verdict = "met" if met else "limited by decoding" if limit == "decoding" else "**not met**"
    return f"{value:.4g}{unit}: {verdict}"


def _machine(record: Record) -> Iterator[str]:
    machine, versions = record["machine"], record["versions"]
    yield f"### {machine_name(record)}{', in miniature' if record['small'] else ''}"
    if record["small"]:
        yield (
            "Tiny networks, a few films of 96 pixels and one round: this run shows that the script works. Its figures "
            "measure nothing, and are no figures of a GPU."
        )
    gpus = ", ".join(
        f"{one['name']}, {one['memory_gib']:.0f} GiB, compute {one['capability']}" for one in machine["gpus"]
    )
    command = f"bash gpu.sh KIT OUT{' --small' * record['small']}"
    rows = [
        ("when", record["created"]),
        ("command", f"`{command}{'' if record['device'] == 'cuda' else ' --device ' + record['device']}`"),
        ("GPU", f"{gpus}, driver {machine['driver']}" if gpus else "none"),
        ("machine", f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']:.0f} GiB"),
        ("load before", f"{machine['load_before']:.1f}"),
        ("environment", f"{machine['system']}, Python {machine['python']}: {_listed(versions)}"),
        ("seconds", f"{record['seconds']:.0f}"),
    ]
    yield table(("", ""), *rows)
    yield table(("section", "step", "result", "seconds"), *_rows(record))


def _listed(versions: Record) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _rows(record: Record) -> Iterator[tuple[str, str, str, str]]:
    for section in record["sections"].values():
        if section.get("why") or not section["steps"]:
            yield (section["title"], "", f"not finished: {_cell(section.get('why', 'not started'))}", "")
        for name, step in section["steps"].items():
            seconds = f"{step['seconds']:.1f}" if step["status"] == "done" else ""
            yield (section["title"], name, _result(step), seconds)


def _result(step: Record) -> str:
    if step["status"] == "done":
        return ", ".join(f"{key.replace('_', ' ')} {_value(value)}" for key, value in step["result"].items())
    words = {"failed": "**failed**", "stopped": "not run to its end", "not run": "not run"}
    return f"{words[step['status']]}: {_cell(step['why'])}"


def _value(value: Any) -> str:
    if value is None:
        return "not measured"
    if isinstance(value, list):
        return _cell("; ".join(map(str, value))) or "none"
    return f"{value:.4g}" if isinstance(value, float) else _cell(str(value))


def _cell(text: str) -> str:
    """Text of a table's cell."""
    return " ".join(text.replace("|", "/").replace("<", "&lt;").split())
