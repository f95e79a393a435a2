"""Write the tables of docs/benchmarks.md from the record of `make bench`, docs/benchmarks.json.

    python tools/docs/benchmarks_page.py [--add FILE.json]

--add puts the record of another machine beside those that are there, in place of an earlier one of that machine: a
record of `benchmarks/bench.py --output FILE.json`, or of benchmarks/gpu.sh, which goes to docs/gpu.json.
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
"""The whole record; or what it has of one machine, under the machine's name in "machines"."""


def page(text: str, record: Record) -> str:
    """The page with every table as the record has it."""
    record = {"gpu": gpu_tables.records(), **record}
    for name, table in TABLES.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        assert found, f"docs/benchmarks.md has no markers for the table {name!r}"
        told = table(record) if _measured(record, name) else "Not measured yet."
        text = f"{before}{begin}\n{told}\n{end}{after}"
    return text


def add(path: Path, record_path: Path = RECORD) -> None:
    """Puts the machines of another record beside those of the page, or in place of those of the same name."""
    new = json.loads(path.read_text(encoding="utf-8"))
    if "machines" not in new:
        gpu_tables.add(path)
        return
    for name, machine in new["machines"].items():
        if missing := {"machine", "versions", "sections", "command", "size", "quick"} - machine.keys():
            raise SystemExit(f"{path} lacks {', '.join(sorted(missing))} of {name}: the run did not get so far")
        if "switched off" in name:
            raise SystemExit(f"{path} was measured with --without: it is no record of a machine")
    record = json.loads(record_path.read_text(encoding="utf-8"))
    record = {**record, "machines": {**record["machines"], **new["machines"]}}
    record_path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _measured(record: Record, name: str) -> bool:
    """Whether the record has anything for this table."""
    if name in ("run", "targets"):
        return bool(record.get("machines"))
    section = SECTIONS[name]
    return bool(record.get(section)) or bool(_with(record, section))


def _with(record: Record, section: str) -> dict[str, Record]:
    """The machines on which this section was measured."""
    return {name: one for name, one in record.get("machines", {}).items() if one.get(section)}


def _beside(record: Record, section: str, head: str, cells: Callable[[Record], Mapping[str, str]]) -> str:
    """A table with a column for each machine on which the section was measured, and below it what a reader must know.

    cells  of one machine, by the name of their row
    """
    found = {name: cells(one) for name, one in _with(record, section).items()}
    rows = dict.fromkeys(row for one in found.values() for row in one)
    machines = record["machines"]
    lines = [
        (row, *(one[row] if row in one else _absent(machines[name], row) for name, one in found.items()))
        for row in rows
    ]
    return "\n\n".join([_table((head, *found), lines), *_notes(record, section)])


def _absent(machine: Record, row: str) -> str:
    """Why a machine has no figure that others have."""
    lacks = machine["machine"].get("lacks", {})
    return "not on this machine" if any(precision in row for precision in lacks) else "not measured"


def _notes(record: Record, section: str) -> Iterator[str]:
    """What a section was measured without, for each machine, as one list."""
    machines = _with(record, section)
    notes = [
        f"* {name + ': ' if len(machines) > 1 else ''}{note}"
        for name, one in machines.items()
        for note in _notes_of(one, section)
    ]
    yield from ["\n".join(notes)] if notes else []


def _notes_of(machine: Record, section: str) -> list[str]:
    state = machine["sections"].get(section, {})
    return [
        *state.get("notes", ()),
        *([] if state.get("finished", True) else ["The run ended before this section did."]),
    ]


def _each(record: Record, section: str, tables: Callable[[Record], str]) -> str:
    """The tables of a section for one machine after the other, under the machine's name if there are several."""
    machines = _with(record, section)
    parts = []
    for name, one in machines.items():
        parts += [f"**{name}**"] if len(machines) > 1 else []
        parts.append(tables(one))
        parts += ["\n".join(f"* {note}" for note in _notes_of(one, section))] if _notes_of(one, section) else []
    return "\n\n".join(parts)


def run(record: Record) -> str:
    found = {name: _run(one) for name, one in record["machines"].items()}
    first = next(iter(found.values()))
    return _table(("", *found), [(row, *(one[row] for one in found.values())) for row in first])


def _run(one: Record) -> dict[str, str]:
    machine = one["machine"]
    lacks = "".join(f"; no {precision}: {why}" for precision, why in machine.get("lacks", {}).items())
    return {
        "when": _when(one),
        "command": f"`{' '.join(one['command'])}`" + (", fewer films and rounds" if one["quick"] else ""),
        "minutes": ", ".join(f"{name} {section['seconds'] / 60:.1f}" for name, section in one["sections"].items()),
        "machine": f"{machine['processor']}, {machine['memory_gib']} GiB{_threads(machine)}{lacks}",
        "load": _load(one),
        "environment": f"{machine['system']}, Python {machine['python']}: {_listed(one['versions'])}",
        "network": f"{one['network']} at {one['size']} pixels, batches of {one['batch_size']}",
    }


def _when(one: Record) -> str:
    """From the first section to the last: those of one run, or of several that completed each other."""
    begun = sorted(section["when"][:16] for section in one["sections"].values()) or [one["created"][:16]]
    return f"sections begun {begun[0]} to {begun[-1]} UTC"


def _listed(versions: Record) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _threads(machine: Record) -> str:
    threads = machine["omp_num_threads"]
    return "" if threads is None else f", OMP_NUM_THREADS={threads}"


def _load(one: Record) -> str:
    """How busy the machine was, in words: the run itself keeps about as many processes busy as there are cores, and
    its decoders as many again."""
    machine, loads = one["machine"], [section["load_before"] for section in one["sections"].values()]
    if not loads:
        return f"{machine['load_before']:.1f} before all"
    busy = machine["load_before"] > machine["cores"] / 2 or max(loads) > 2 * machine["cores"]
    told = "others used the machine: compare only ratios, roughly" if busy else "quiet"
    return f"{machine['load_before']:.1f} before all, {min(loads):.1f} to {max(loads):.1f} before each section: {told}"


def targets(record: Record) -> str:
    """Every target with one column for each machine."""
    machines = record["machines"]
    rows = [
        (what, f"{sign} {wanted:g}{unit}", *(_judged(one, *target) for one in machines.values()))
        for target in TARGETS
        for what, sign, wanted, unit, _ in [target]
    ]
    return _table(("what", "target", *machines), rows)


def _judged(
    machine: Record, what: str, sign: str, wanted: float, unit: str, figure: Callable[[Record], float | None]
) -> str:
    """The figure and whether it meets the target, which is for films of 400 pixels."""
    value = figure(machine)
    if value is None:
        return _absent(machine, what)
    met = "met" if _met(sign, value, wanted) else "**not met**"
    return f"{value:.3g}{unit}: {met if machine['size'] == 400 else 'not judged at this size'}"


def _met(sign: str, value: float, wanted: float) -> bool:
    if sign == ">":
        return value > wanted
    return value >= wanted if sign == "≥" else value <= wanted


def _row(machine: Record, section: str, name: str) -> Record | None:
    """The row of that name in a section that is a list of rows, or in its contenders."""
    rows = machine.get(section) or ()
    rows = rows["contenders"] if isinstance(rows, Mapping) else rows
    return next((one for one in rows if one["name"] == name), None)


def _ratio_to_network(name: str) -> Callable[[Record], float | None]:
    def figure(machine: Record) -> float | None:
        one = _row(machine, "end_to_end", name)
        return one and one["films_per_second"] / one["forward"]

    return figure


def _ratio_to_script(name: str) -> Callable[[Record], float | None]:
    def figure(machine: Record) -> float | None:
        one, script = _row(machine, "scoring", name), _row(machine, "scoring", SCRIPT)
        return one and script and one["films_per_second"] / script["films_per_second"]

    return figure


def _share_of_peak(precision: str) -> Callable[[Record], float | None]:
    def figure(machine: Record) -> float | None:
        one = _row(machine, "scoring", f"cxrscore, openvino {precision}")
        peak = _floor(machine, f"product_{precision}_gflops")
        alone = one and one["forward_films_per_second"]
        return peak and alone and alone / (peak / machine["gflop_a_film"])

    return figure


def _floor(machine: Record, name: str) -> float | None:
    return (machine.get("scoring") or {}).get("floors", {}).get(name)


def _decoding(workers: int) -> Callable[[Record], float | None]:
    """cxrscore's decoders that run already, against as many threads of OpenCV."""

    def figure(machine: Record) -> float | None:
        own, cv2 = (_floor(machine, f"{way}_{workers}_films_per_second") for way in ("steady", "decode"))
        return own and cv2 and own / cv2

    return figure


def _int8_effect(machine: Record) -> Record:
    """Of the trained model; empty if it was not measured."""
    found: Record = (machine.get("precision") or {}).get("effects", {}).get("int8", {})
    return found


def _worst_difference(machine: Record) -> float | None:
    return _int8_effect(machine).get("max_difference")


def _auc_change(machine: Record) -> float | None:
    effect = _int8_effect(machine)
    return abs(effect["macro_auc_after"] - effect["macro_auc_before"]) if effect else None


def _speed_with_kept_layers(machine: Record) -> float | None:
    seconds = (machine.get("precision") or {}).get("cpu_seconds")
    return seconds and seconds["int8, all layers rounded"] / seconds["int8"]


def _keras_to_torch(machine: Record) -> float | None:
    keras, torch = (_row(machine, "whole_command", f"cxrscore, {name} fp32") for name in ("keras", "torch"))
    return keras and torch and keras["seconds"] / torch["seconds"]


def _memory(machine: Record) -> float | None:
    one = _row(machine, "end_to_end", "cxrscore, openvino fp32")
    return one and one["own_mb"] + one["workers_mb"]


def _cost_of_maps(name: str) -> Callable[[Record], float | None]:
    def figure(machine: Record) -> float | None:
        one = (machine.get("heat_maps") or {}).get("cxrscore", {}).get(name)
        return one and one["all_maps"] / one["no_maps"]

    return figure


def _start(name: str) -> Callable[[Record], float | None]:
    def figure(machine: Record) -> float | None:
        one = _row(machine, "start_up", name)
        return one and one["seconds"]

    return figure


TARGETS: tuple[tuple[str, str, float, str, Callable[[Record], float | None]], ...] = (
    *(
        (f"{name}: end to end / bare network", "≥", wanted, "", _ratio_to_network(name))
        for backend, precision, wanted in (
            ("openvino", "fp32", 0.95),
            ("openvino", "bf16", 0.93),
            ("openvino", "int8", 0.9),
            ("torch", "fp32", 0.95),
            ("keras", "fp32", 0.95),
        )
        for name in [f"cxrscore, {backend} {precision}"]
    ),
    *(
        (f"{name} / {SCRIPT}", "≥", wanted, "", _ratio_to_script(name))
        for precision, wanted in (("fp32", 1.8), ("bf16", 3.5), ("int8", 6.0))
        for name in [f"cxrscore, openvino {precision}"]
    ),
    *(
        (f"cxrscore, openvino {precision}: bare network / matmul peak", "≥", 0.85, "", _share_of_peak(precision))
        for precision in ("fp32", "bf16")
    ),
    ("decoding: 1 running process / OpenCV, 1 thread", "≥", 0.9, "", _decoding(1)),
    ("decoding: 2 running processes / OpenCV, 2 threads", "≥", 0.9, "", _decoding(2)),
    ("int8, trained model: max abs Δp", "≤", 0.02, "", _worst_difference),
    ("int8, trained model: abs change of the macro AUC", "≤", 0.002, "", _auc_change),
    ("int8, trained model: speed / with all layers rounded", "≥", 0.9, "", _speed_with_kept_layers),
    ("whole command, keras / torch, time", "≤", 1.3, "", _keras_to_torch),
    ("cxrscore, openvino fp32: peak memory with decoders", "≤", 450, " MiB", _memory),
    *(
        (f"{name}: 14 maps of each film / no maps, time", "≤", 1.05, "", _cost_of_maps(name))
        for name in ("cxrscore, openvino fp32", "cxrscore, torch fp32")
    ),
    ("`score` of one film, openvino fp32", "≤", 1.5, " s", _start("cxrscore score of one film, openvino")),
    ("`cxrscore --help`", "≤", 0.15, " s", _start("cxrscore --help")),
)
"""What, sign, target, unit, and the figure of a machine; None if it was not measured there."""


def scoring(record: Record) -> str:
    """What several machines have in common, if there are several; and each of them."""
    parts = [] if len(_with(record, "scoring")) < 2 else [_beside(record, "scoring", "/ the script", _script_ratios)]
    return "\n\n".join([*parts, _each(record, "scoring", _scoring)])


def _script_ratios(machine: Record) -> dict[str, str]:
    names = [one["name"] for one in _fastest_first(machine)]
    ratios = {name: _ratio_to_script(name)(machine) for name in names}
    return {name: f"{ratio:.2f}" for name, ratio in ratios.items() if ratio is not None}


def _fastest_first(machine: Record) -> list[Record]:
    return sorted(machine["scoring"]["contenders"], key=lambda one: -one["films_per_second"])


def _scoring(machine: Record) -> str:
    section, ratios = machine["scoring"], _script_ratios(machine)
    rows = [
        (
            *(one["name"], one["does"], f"{one['films_per_second']:.2f}", _spread(one["rounds"])),
            *(ratios.get(one["name"], ""), _number(one["forward_films_per_second"])),
            f"{one['own_mb']:.0f} + {one['workers_mb']:.0f}",
            *(_difference(one["probability_difference"]), f"{one['startup_seconds']:.1f}", one["versions"]),
        )
        for one in _fastest_first(machine)
    ]
    heads = (
        *("program", "method", "films/s", "range", "/ the script", "bare network, films/s", "peak MiB, own + workers"),
        *("max abs Δp", "start, s", "versions"),
    )
    lacks = machine["machine"].get("lacks", {})
    left = [f"* {precision} is not on this machine: {why}." for precision, why in lacks.items()]
    left += [f"* {one['name']} was not run, or not to the end: {one['why']}" for one in section["left_out"]]
    told = f"Films per round: {section['films']}; rounds: {section['rounds']}; medians."
    return "\n\n".join([told, _table(heads, rows), *(["\n".join(left)] if left else [])])


def _spread(rounds: Sequence[float]) -> str:
    return f"{min(rounds):.2f} to {max(rounds):.2f}"


def _difference(value: float | None) -> str:
    return "" if value is None else "0" if value == 0 else f"{value:.1e}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def floors(record: Record) -> str:
    costs = {one["gflop_a_film"] for one in _with(record, "scoring").values()}
    needs = " or ".join(f"{cost:.2f}" for cost in sorted(costs))
    return _beside(record, "scoring", "limit", _floors) + f"\n\nThe network needs {needs} GFLOP per film."


def _floors(machine: Record) -> dict[str, str]:
    cost, cells = machine["gflop_a_film"], {}
    for kind in ("fp32", "bf16"):
        if rate := _floor(machine, f"product_{kind}_gflops"):
            cells[f"4096 x 4096 matrix product, {kind}"] = f"{rate:.0f} GFLOP/s: {rate / cost:.1f} films/s"
    for number in (1, 2):
        for way, words in (
            ("decode", f"OpenCV decodes and resizes, threads: {number}"),
            ("stream", f"cxrscore decodes and resizes, processes: {number}, new ones"),
            ("steady", f"cxrscore decodes and resizes, processes: {number}, running"),
        ):
            if rate := _floor(machine, f"{way}_{number}_films_per_second"):
                cells[words] = f"{rate:.0f} films/s"
    return cells


def end_to_end(record: Record) -> str:
    return _beside(record, "end_to_end", "ratio (films/s, films; peak MiB, own + workers)", _end_to_end)


def _end_to_end(machine: Record) -> dict[str, str]:
    return {
        one["name"]: (
            f"{one['films_per_second'] / one['forward']:.3f} "
            f"({one['films_per_second']:.2f} of {one['forward']:.2f}, {one['films']} films; "
            f"{one['own_mb']:.0f} + {one['workers_mb']:.0f})"
        )
        for one in machine["end_to_end"]
    }


def whole_command(record: Record) -> str:
    return _beside(record, "whole_command", "seconds (films/s; peak MiB without decoders)", _whole_command)


def _whole_command(machine: Record) -> dict[str, str]:
    rows = machine["whole_command"]
    counts = sorted({one["films"] for one in rows})
    cells = {"films": ", ".join(map(str, counts))}
    for one in rows:
        missed = "" if one["scored"] == one["films"] else f"; **only {one['scored']} scored**"
        told = f"{one['seconds']:.1f} ({one['films'] / one['seconds']:.2f}; {one['peak_mb']:.0f}{missed})"
        cells[one["name"]] = told
    if ratio := _keras_to_torch(machine):
        cells["keras / torch"] = f"{ratio:.2f}"
    return cells


def heat_maps(record: Record) -> str:
    return _each(record, "heat_maps", _heat_maps)


def _heat_maps(machine: Record) -> str:
    section = machine["heat_maps"]
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
    return _each(record, "growth", _growth)


def _growth(machine: Record) -> str:
    rows = [
        (
            *(f"{one['films']:,}", f"{one['seconds']:.1f}", f"{one['films'] / one['seconds']:.0f}"),
            *(f"{one['peak_mb']:.0f}", f"{one['file_bytes'] / one['films']:,.0f}"),
        )
        for one in machine["growth"]
    ]
    return _table(("films", "seconds", "films/s", "peak MiB without decoders", "bytes of out.h5 per film"), rows)


def sizes(record: Record) -> str:
    return _each(record, "sizes", _sizes)


def _sizes(machine: Record) -> str:
    rows = [
        (str(one["size"]), str(one["batch_size"]), _number(one.get("openvino")), _number(one.get("torch")))
        for one in machine["sizes"]
    ]
    return _table(("film, pixels", "batch", "openvino fp32, films/s", "torch fp32, films/s"), rows)


def start_up(record: Record) -> str:
    return _beside(
        record,
        "start_up",
        "command, seconds",
        lambda machine: {one["name"]: f"{one['seconds']:.3g}" for one in machine["start_up"]},
    )


def profiles(record: Record) -> str:
    return _each(record, "profiles", _profiles)


def _profiles(machine: Record) -> str:
    told = []
    for one in machine["profiles"]:
        rows = [(room, f"{100 * share:.1f}", f"{share * one['seconds']:.1f}") for room, share in one["rooms"].items()]
        about = f"`{one['command']}`, {one['films']} films of {one['size']} pixels, {one['backend']} {one['precision']}"
        cpu = f"{one['own_cpu']:.1f} s of CPU time in the process, {one['children_cpu']:.1f} s in its decoders"
        told.append(f"{about}: {one['seconds']:.1f} s elapsed, {cpu}.")
        told.append(_table(("main thread", "% of the time", "seconds"), rows))
    return "\n\n".join(told)


def precision(record: Record) -> str:
    return _beside(record, "precision", "trained model", _precision)


def _precision(machine: Record) -> dict[str, str]:
    section, cells = machine["precision"], {}
    for name, one in section["effects"].items():
        cells[f"{name}: max abs Δp (mean)"] = f"{one['max_difference']:.4f} ({one['mean_difference']:.4f})"
        if one["macro_auc_before"] is not None:
            cells[f"{name}: macro AUC (fp32)"] = f"{one['macro_auc_after']:.4f} ({one['macro_auc_before']:.4f})"
    effect = next(iter(section["effects"].values()))
    cells["films: of the calibration, compared, with AUC"] = (
        f"{section['calibration_films']}, {effect['films']}, {effect['labelled_films']}"
    )
    cells["int8: layers kept in higher precision"] = str(section["kept_layers"])
    if seconds := section.get("cpu_seconds"):
        cells |= {
            f"{name}: CPU time / fp32": f"{seconds[name] / seconds['fp32']:.3f}" for name in seconds if name != "fp32"
        }
    cells["`quantize`, seconds"] = f"{section['quantize_seconds']:.0f}"
    return cells


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
    "precision": precision,
    "learning": learning,
    "marks": marks,
    "gpu": lambda record: gpu_tables.gpu(record["gpu"]),
}
SECTIONS = {name: name.replace(" ", "_").replace("-", "_") for name in TABLES} | {"floors": "scoring"}


def main() -> None:
    if sys.argv[1:2] == ["--add"]:
        add(Path(sys.argv[2]))
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), record), encoding="utf-8")
    for name in ("scoring", "targets"):
        if _measured(record, name):
            sys.stdout.write(f"{TABLES[name](record)}\n\n")


if __name__ == "__main__":
    main()
