"""Write the tables of docs/benchmarks.md from the record of `make bench`, docs/benchmarks.json.

    python tools/docs/benchmarks_page.py [--add gpu.json]

--add puts the record of a run of benchmarks/gpu.sh into docs/gpu.json, in place of an earlier one of that machine.
Each table stands between two markers; the text outside of them is written by hand.
tests/docs/test_benchmarks_page.py checks that page and record agree. Every cell is computed here from the record.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import t

sys.path.insert(0, str(Path(__file__).parent))

import gpu_tables

DOCS = Path(__file__).parents[2] / "docs"
PAGE, RECORD = DOCS / "benchmarks.md", DOCS / "benchmarks.json"
BEGIN, END = "<!-- {}: written by tools/docs/benchmarks_page.py -->", "<!-- end of {} -->"
SCRIPT = "torchxrayvision's script"

Record = Mapping[str, Any]


def page(text: str, record: Record) -> str:
    """The page with every table as the record has it."""
    record = {"gpu": gpu_tables.records(), **record}
    for name, table in TABLES.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        assert found, f"docs/benchmarks.md has no markers for the table {name!r}"
        told = table(record) if name in ("run", "targets", "gpu") or record.get(SECTIONS[name]) else "Not measured yet."
        text = f"{before}{begin}\n{told}\n{end}{after}"
    return text


def run(record: Record) -> str:
    machine, versions = record["machine"], record["versions"]["cxrscore"]
    own = ", ".join(f"{name} {version}" for name, version in versions.items())
    rows = [
        ("when", record["created"]),
        ("command", f"`{' '.join(record['command'])}`" + (", fewer films and rounds" if record["quick"] else "")),
        ("minutes", ", ".join(f"{name} {one['seconds'] / 60:.1f}" for name, one in record["sections"].items())),
        (
            "machine",
            f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB{_threads(machine)}",
        ),
        ("load", _load(record)),
        ("environment", f"{machine['system']}, Python {machine['python']}: {own}"),
        ("network", f"{record['network']} at {record['size']} pixels, batches of {record['batch_size']}"),
    ]
    return _table(("", ""), rows)


def _threads(machine: Record) -> str:
    threads = machine["omp_num_threads"]
    return "" if threads is None else f", OMP_NUM_THREADS={threads}"


def _load(record: Record) -> str:
    """How busy the machine was, in words: the run itself keeps about as many processes busy as there are cores, and
    its decoders as many again."""
    machine, loads = record["machine"], [one["load_before"] for one in record["sections"].values()]
    busy = machine["load_before"] > machine["cores"] / 2 or max(loads) > 2 * machine["cores"]
    told = "others used the machine: compare only ratios, roughly" if busy else "quiet"
    return f"{machine['load_before']:.1f} before all, {min(loads):.1f} to {max(loads):.1f} before each section: {told}"


def targets(record: Record) -> str:
    rows = [
        (what, f"{sign} {wanted:g}{unit}", f"{value:.3g}{unit}", _verdict(record, _met(sign, value, wanted)))
        for what, sign, wanted, unit, value in _targets(record)
    ]
    return _table(("what", "target", "measured", ""), rows)


def _verdict(record: Record, met: bool) -> str:
    """The targets are for films of 400 pixels."""
    return "not judged at this size" if record["size"] != 400 else "met" if met else "**not met**"


def _met(sign: str, value: float, wanted: float) -> bool:
    if sign == ">":
        return value > wanted
    return value >= wanted if sign == "≥" else value <= wanted


def _targets(record: Record) -> Iterator[tuple[str, str, float, str, float]]:
    """What, sign, target, unit and figure of each target that the record can tell of."""
    for one in record.get("end_to_end", ()):
        rate = one["films_per_second"] / one["forward"]
        yield f"{one['name']}: end to end / bare network", "≥", 0.95, "", rate
    if "scoring" in record:
        yield from _against_peers(record)
    for one in record.get("end_to_end", ()):
        if "openvino fp32" in one["name"]:
            yield f"{one['name']}: peak memory with decoders", "≤", 500, " MiB", one["own_mb"] + one["workers_mb"]
    for name, one in record.get("heat_maps", {}).get("cxrscore", {}).items():
        yield f"{name}: 14 maps of each film / no maps", "≤", 1.05, "", one["all_maps"] / one["no_maps"]
    for one in record.get("start_up", ()):
        if one["name"] == "cxrscore --help":
            yield "`cxrscore --help`", "≤", 0.15, " s", one["seconds"]


def _against_peers(record: Record) -> Iterator[tuple[str, str, float, str, float]]:
    found = {one["name"]: one for one in record["scoring"]["contenders"]}
    floors = record["scoring"]["floors"]
    for precision, wanted in (("fp32", 1.8), ("bf16", 3.5), ("int8", 6.0)):
        own = found.get(f"cxrscore, openvino {precision}")
        if own and SCRIPT in found:
            rate = own["films_per_second"] / found[SCRIPT]["films_per_second"]
            yield f"{own['name']} / {SCRIPT}", "≥", wanted, "", rate
    for precision in ("fp32", "bf16"):
        if own := found.get(f"cxrscore, openvino {precision}"):
            peak = floors[f"product_{precision}_gflops"] / record["gflop_a_film"]
            share = own["forward_films_per_second"] / peak
            yield f"{own['name']}: bare network / matmul peak", "≥", 0.85, "", share


def scoring(record: Record) -> str:
    section = record["scoring"]
    contenders = sorted(section["contenders"], key=lambda one: -one["films_per_second"])
    script = next((one["films_per_second"] for one in contenders if one["name"] == SCRIPT), None)
    rows = [
        (
            *(one["name"], one["does"], f"{one['films_per_second']:.2f}", _spread(one["rounds"])),
            "" if script is None else f"{one['films_per_second'] / script:.2f}",
            *(_number(one["forward_films_per_second"]), f"{one['own_mb']:.0f} + {one['workers_mb']:.0f}"),
            *(_difference(one["probability_difference"]), f"{one['startup_seconds']:.1f}", one["versions"]),
        )
        for one in contenders
    ]
    heads = (
        *("program", "method", "films/s", "range", "/ the script", "bare network, films/s", "peak MiB, own + workers"),
        *("max abs Δp", "start, s", "versions"),
    )
    left = [f"* {one['name']} was not run: {one['why']}" for one in section["left_out"]]
    told = f"{section['films']} films per round, {section['rounds']} rounds, medians."
    return "\n\n".join([told, _table(heads, rows), *left])


def _spread(rounds: Sequence[float]) -> str:
    return f"{min(rounds):.2f} to {max(rounds):.2f}"


def _difference(value: float | None) -> str:
    return "" if value is None else "0" if value == 0 else f"{value:.1e}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def floors(record: Record) -> str:
    found, cost = record["scoring"]["floors"], record["gflop_a_film"]
    rows = [
        (f"4096 x 4096 matrix product, {kind}", f"{rate:.0f} GFLOP/s", f"{rate / cost:.1f}")
        for kind in ("fp32", "bf16")
        for rate in [found[f"product_{kind}_gflops"]]
    ]
    for number in (1, 2):
        cv2, own = (found[f"{way}_{number}_films_per_second"] for way in ("decode", "stream"))
        rows.append((f"OpenCV decodes and resizes, threads: {number}", "", f"{cv2:.0f}"))
        rows.append((f"cxrscore decodes and resizes, processes: {number}, new ones", "", f"{own:.0f}"))
    return _table(("limit", "rate", "films/s"), rows) + f"\n\nThe network needs {cost:.2f} GFLOP per film."


def end_to_end(record: Record) -> str:
    rows = [
        (
            *(one["name"], str(one["films"]), f"{one['films_per_second']:.2f}", f"{one['forward']:.2f}"),
            *(f"{one['films_per_second'] / one['forward']:.3f}", f"{one['own_mb']:.0f} + {one['workers_mb']:.0f}"),
        )
        for one in record["end_to_end"]
    ]
    return _table(("program", "films", "films/s", "bare network, films/s", "ratio", "peak MiB, own + workers"), rows)


def whole_command(record: Record) -> str:
    rows = [
        (
            *(one["name"], f"{one['scored']} of {one['films']}", f"{one['seconds']:.1f}"),
            *(f"{one['films'] / one['seconds']:.2f}", f"{one['peak_mb']:.0f}"),
        )
        for one in record["whole_command"]
    ]
    return _table(("command", "films scored", "seconds", "films/s", "peak MiB without decoders"), rows)


def heat_maps(record: Record) -> str:
    section = record["heat_maps"]
    rows = [
        (
            name,
            f"{1000 * one['no_maps']:.0f}",
            f"{1000 * one['all_maps']:.0f}",
            f"{one['all_maps'] / one['no_maps']:.3f}",
        )
        for name, one in section["cxrscore"].items()
    ]
    told = [_table(("program", "ms per film, no maps", "ms per film, 14 maps", "ratio"), rows)]
    told += [f"* {name} was not run: {why}" for name, why in section["left_out"].items()]
    if peer := section.get("peer"):
        ways = {"14 calls": peer["calls"], "one call with 14 copies": peer["batch"]}
        rows = [
            (
                way,
                f"{1000 * seconds:.0f}",
                *(f"{seconds / one['all_maps']:.1f}" for one in section["cxrscore"].values()),
            )
            for way, seconds in ways.items()
        ]
        heads = ("pytorch-grad-cam", "ms per film, 14 maps", *(f"/ {name}" for name in section["cxrscore"]))
        told.append(_table(heads, rows))
        told.append(f"Maps of one film differ by at most {section['map_difference']:.1e} of their range.")
    return "\n\n".join(told)


def growth(record: Record) -> str:
    rows = [
        (
            *(f"{one['films']:,}", f"{one['seconds']:.1f}", f"{one['films'] / one['seconds']:.0f}"),
            *(f"{one['peak_mb']:.0f}", f"{one['file_bytes'] / one['films']:,.0f}"),
        )
        for one in record["growth"]
    ]
    return _table(("films", "seconds", "films/s", "peak MiB without decoders", "bytes of out.h5 per film"), rows)


def sizes(record: Record) -> str:
    rows = [
        (str(one["size"]), str(one["batch_size"]), f"{one['openvino']:.2f}", f"{one['torch']:.2f}")
        for one in record["sizes"]
    ]
    return _table(("film, pixels", "batch", "openvino fp32, films/s", "torch fp32, films/s"), rows)


def start_up(record: Record) -> str:
    return _table(("command", "seconds"), [(one["name"], f"{one['seconds']:.3g}") for one in record["start_up"]])


def profiles(record: Record) -> str:
    told = []
    for one in record["profiles"]:
        rows = [(room, f"{100 * share:.1f}", f"{share * one['seconds']:.1f}") for room, share in one["rooms"].items()]
        about = f"`{one['command']}`, {one['films']} films of {one['size']} pixels, {one['backend']} {one['precision']}"
        cpu = f"{one['own_cpu']:.1f} s of CPU time in the process, {one['children_cpu']:.1f} s in its decoders"
        told.append(f"{about}: {one['seconds']:.1f} s elapsed, {cpu}.")
        told.append(_table(("main thread", "% of the time", "seconds"), rows))
    return "\n\n".join(told)


LEARNING = {
    "epochs": "default of 0.1: Adam, DenseNet121",
    "epochs-split": "default of 0.1, a fifth of the films left out as its test",
    "epochs-now": "`--solver adam`, DenseNet121",
    "densenet121": "default (linear probe), DenseNet121",
    "resnet50": "default (linear probe), ResNet50",
    "both": "both linear probes, averaged",
    "sklearn": "scikit-learn alone, DenseNet121, one strength",
    "sklearn-own": "scikit-learn alone, DenseNet121, a strength for each finding",
    "peer": "another network, trained on 78,000 films",
    "probe-224": "default at 224 pixels, DenseNet121",
    "fine-tune-224": "`fine-tune` at 224 pixels, DenseNet121",
    "last-block-224": "`fine-tune-last-block` at 224 pixels, DenseNet121",
}


def learning(record: Record) -> str:
    section = record["learning"]
    methods, own = section["methods"], "densenet121"
    rows = [
        (
            *(LEARNING[name], _interval(one["macro_auc"]), _signed(one["brier_skill"])),
            *(f"{one['calibration_error']:.3f}", f"{one['spread']:.3f}", f"{one['apart']:.3f}"),
            f"{one['probabilities'][0]:.3f} to {one['probabilities'][1]:.3f}",
        )
        for name, one in methods.items()
    ]
    heads = (
        "method",
        "macro AUC",
        "Brier skill",
        "calibration error",
        "spread",
        "difference of mean and prevalence",
        "probabilities",
    )
    pairs = [
        (
            *(LEARNING[one["of"]], LEARNING[one["less"]], _signed(one["macro_auc"]), _signed(one["brier_skill"])),
            f"{min(one['each_repeat']):+.3f} to {max(one['each_repeat']):+.3f}",
        )
        for one in section["differences"]
    ]
    apart = ("method", "less", "macro AUC", "Brier skill", "macro AUC, lowest and highest repeat")
    films = f"{section['films']} films of {section['patients']} patients, {section['repeats']} repeats"
    few = [
        f"{LEARNING[name]}: {one['films']} films, {one['repeats']} repeats."
        for name, one in methods.items()
        if (one["films"], one["repeats"]) != (section["films"], section["repeats"])
    ]
    told = f"{films} of {section['outer_folds']} outer folds, measured {section['created'][:10]}."
    if checked := section.get("train"):
        told += f" `cxrscore train` gives the same logits to {checked['logits']:.1e} on the first fold."
    judged = _learning_targets(methods, section["differences"]) if own in methods else []
    checks = [_table(("what", "target", "measured", ""), judged)] if judged else []
    return "\n\n".join([" ".join([told, *few]), _table(heads, rows), _table(apart, pairs), *checks])


def _learning_targets(methods: Record, differences: Sequence[Record]) -> list[tuple[str, str, str, str]]:
    """What, target, figure and verdict."""
    found = {(one["of"], one["less"]): one["macro_auc"][0] for one in differences}
    new = "densenet121"
    told = [
        ("default less default of 0.1, macro AUC", "≥", 0.02, found.get((new, "epochs"))),
        ("default, Brier skill", ">", 0, methods[new]["brier_skill"][0]),
        ("default less scikit-learn, macro AUC", "≥", 0, found.get((new, "sklearn"))),
        ("both less DenseNet121, macro AUC", "≥", 0, found.get(("both", new))),
        ("both less ResNet50, macro AUC", "≥", 0, found.get(("both", "resnet50"))),
        ("default, spread", "≥", 0.1, methods[new]["spread"]),
        ("default, mean off prevalence", "≤", 0.02, methods[new]["apart"]),
    ]
    return [
        (what, f"{sign} {wanted:g}", f"{value:.3f}", "met" if _met(sign, value, wanted) else "**not met**")
        for what, sign, wanted, value in told
        if value is not None
    ]


MARKS = {
    "start": "none: the start set only",
    "random": "`random`",
    "useful": "`useful`",
    "uncertainty": "`uncertainty`",
    "highest": "`highest`",
    "all": "all films that are not of the test",
}


def marks(record: Record) -> str:
    section = record["marks"]
    rows = [
        (
            *(MARKS[name], _interval(one["macro_auc"])),
            f"{min(one['each_seed']):.3f} to {max(one['each_seed']):.3f}",
            *(f"{one['positives']:.0f}", f"{one['findings_learnt']:.1f}"),
        )
        for name, one in section["rules"].items()
    ]
    heads = ("films that are marked", "macro AUC", "lowest and highest seed", "positive labels", "findings learnt")
    pairs = [
        (
            *(MARKS[one["of"]], _signed(one["macro_auc"]), _over_seeds(one["each_seed"])),
            f"{min(one['each_seed']):+.3f} to {max(one['each_seed']):+.3f}",
            f"{sum(value > 0 for value in one['each_seed'])} of {len(one['each_seed'])}",
        )
        for one in section["differences"]
    ]
    apart = (
        *("rule", "less `random`, macro AUC (interval over test patients)", "interval over seeds"),
        *("lowest and highest seed", "seeds above 0"),
    )
    told = (
        f"{section['films']} films of {section['patients']} patients, {section['findings']} findings; "
        f"{section['start']} films of the start set, {section['marked']} marked out of {section['pool']}; "
        f"{section['seeds']} seeds, {section['folds']} test folds; measured {section['created'][:10]}."
    )
    return "\n\n".join([told, _table(heads, rows), _table(apart, pairs)])


def _over_seeds(values: Sequence[float]) -> str:
    """The 95 % interval of the mean, by Student's t."""
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return f"{mean(values) - half:+.3f} to {mean(values) + half:+.3f}"


def _interval(value: Sequence[float]) -> str:
    return f"{value[0]:.3f} ({value[1]:.3f} to {value[2]:.3f})"


def _signed(value: Sequence[float]) -> str:
    return f"{value[0]:+.3f} ({value[1]:+.3f} to {value[2]:+.3f})"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


TABLES: dict[str, Callable[[Record], str]] = {
    "run": run,
    "targets": targets,
    "scoring": scoring,
    "floors": floors,
    "end to end": end_to_end,
    "whole command": whole_command,
    "heat maps": heat_maps,
    "growth": growth,
    "sizes": sizes,
    "start-up": start_up,
    "profiles": profiles,
    "learning": learning,
    "marks": marks,
    "gpu": lambda record: gpu_tables.gpu(record["gpu"]),
}
SECTIONS = {name: name.replace(" ", "_").replace("-", "_") for name in TABLES} | {"floors": "scoring"}


def main() -> None:
    if sys.argv[1:2] == ["--add"]:
        gpu_tables.add(Path(sys.argv[2]))
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), record), encoding="utf-8")
    sys.stdout.write(f"{scoring(record)}\n\n{targets(record)}\n" if "scoring" in record else f"{targets(record)}\n")


if __name__ == "__main__":
    main()
