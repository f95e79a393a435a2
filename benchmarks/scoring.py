"""PNG files to scores: cxrscore's backends and its peers, in turns, with the floors of the machine in every round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from children import NO_TIME, Child, Contender, FailedError, forward_films, started
from inputs import Inputs
from progress import Section

REFERENCE = "cxrscore, torch fp32"
"""Whose probabilities all others are held to."""
SCRIPT = Contender(
    name="torchxrayvision's script", script="xrv_script", does="its reader, film by film, torch", anew=True
)
PEERS = (
    Contender(name="ONNX Runtime", script="onnx_prefetch", does="OpenCV in a thread, batches"),
    Contender(name="Keras PyDataset", script="keras_dataset", does="load_img, 2 workers, predict", theirs=False),
    Contender(name="film by film", script="one_by_one", does="PIL, torch, no batches", seldom=True),
    Contender(
        name="torch DataLoader", script="torch_loader", does="PIL, torchvision's transforms, 2 workers", seldom=True
    ),
)
PRODUCT = 3 * 2 * 4096**3
"""Floating-point operations of the three products that the floor is measured by."""
FLOORS = (
    *("product fp32", "product bf16", "decode 1", "decode 2", "stream 1", "stream 2"),
    *("steady 1", "steady 2"),
)
"""Works of peers/floors.py; steady: decoding with workers that run already."""


def ours(backend: str, precision: str, **told: Any) -> Contender:
    return Contender(
        name=f"cxrscore, {backend} {precision}",
        script="cxrscore_score",
        does="`score` with heat maps, to out.h5",
        theirs=False,
        maps=True,
        told={"backend": backend, "precision": precision, **told},
    )


def own_contenders(inputs: Inputs) -> list[Contender]:
    """cxrscore by each of its backends, in the precisions that this machine computes in."""
    found = [ours("openvino", "fp32"), ours("torch", "fp32")]
    if "bf16" not in inputs.lacks:
        found.append(ours("openvino", "bf16"))
    if inputs.int8.is_file():
        found.append(ours("openvino", "int8", model=str(inputs.int8)))
    return [*found, ours("keras", "fp32")]


class Contest:
    """The rounds of all contenders: after each of them the section can be written as it is by then."""

    def __init__(
        self, inputs: Inputs, films: int, section: Section, children: Sequence[Child], failed: Mapping[str, str]
    ) -> None:
        self.inputs, self.films, self.section = inputs, films, section
        self.children = [child for child in children if child.contender.script != "floors"]
        self.floor = next((child for child in children if child.contender.script == "floors"), None)
        self.bare, self.floor_films = forward_films(films, inputs.batch_size), films
        self.left_out = [{"name": name, "why": why} for name, why in failed.items()]
        self.running = {child.contender.name for child in self.children}
        self.seconds: dict[str, dict[str, list[float]]] = {}
        self.kept: dict[str, dict[str, Any]] = {}
        self.machine: dict[str, list[float]] = {}

    @property
    def few(self) -> int:
        """Films that a contender warms up with: two batches, one if a round has few."""
        return self.inputs.batch_size * (2 if self.films >= 6 * self.inputs.batch_size else 1)

    def warm_up(self) -> float:
        """Everyone scores a few films; the seconds that a round of `self.films` takes by what that took."""
        estimate = 0.0
        for child in self.children:
            try:
                if estimate and self.section.over():
                    raise FailedError(NO_TIME)
                seconds = self._warmed(child)
            except FailedError as error:
                self._drop(child, error)
                continue
            self.section.say(f"{child.contender.name} is warm")
            score = seconds["score"] / self.few
            estimate += score * (self.films + (self.bare if "forward" in child.works else 0))
            estimate += child.startup if child.contender.anew else 0
        if self.floor and not self.section.over():
            try:
                estimate += sum(self.floor.warm_up(self.floor_works(self.floor)).values())
            except FailedError as error:
                self._drop(self.floor, error)
        return estimate

    def fit(self, estimate: float, rounds: int) -> None:
        """Takes fewer films where not even two rounds of all of them fit into the time that is left; three batches at
        least, as a few films tell more of the start of decoders than of the rest."""
        batch, wanted = self.inputs.batch_size, self.films
        least = 3 * batch
        share = self.section.left() / (min(rounds, 2) * estimate) if estimate else 1.0
        if share < 1:
            self.films = min(wanted, max(least, int(wanted * share) // batch * batch))
        if self.films < wanted:
            self.section.note(f"{self.films} films per round instead of {wanted}, for lack of time")

    def round(self, number: int) -> bool:
        """One turn of everyone, the floors first; whether it came to its end before the section's time was over."""
        if self.floor and not self.section.spent():
            try:
                for work in self.floor_works(self.floor):
                    self.machine.setdefault(work, []).append(self.floor.seconds(work))
            except FailedError as error:
                self._drop(self.floor, error)
        for child in self.children:
            if child.contender.name not in self.running or (child.contender.seldom and number):
                continue
            if self.section.spent() or (number and self.section.over()):
                return False
            try:
                self._turn(child, number)
            except FailedError as error:
                self._drop(child, error)
        return True

    def result(self, rounds: int) -> dict[str, Any]:
        """The section "scoring" of the record, after so many rounds."""
        rows = [row(child, self) for child in self.children if child.contender.name in self.kept]
        return {
            "films": self.films,
            "rounds": rounds,
            "contenders": _with_differences(rows),
            "left_out": self.left_out,
            "floors": floors_of(self.machine, self.floor_films),
        }

    def floor_works(self, child: Child) -> list[str]:
        """The floors that this machine has: a product in a precision that it lacks is emulated, and takes minutes."""
        lacks = self.inputs.lacks
        return [work for work in FLOORS if work in child.works and work.removeprefix("product ") not in lacks]

    def _turn(self, child: Child, number: int) -> None:
        name = child.contender.name
        if child.contender.anew and number:
            child.start_anew()
            self._warmed(child)
        child.take(self.inputs.films(self.films))
        taken = {work: child.seconds(work) for work in works(child)}
        for work, seconds in taken.items():
            self.seconds.setdefault(name, {}).setdefault(work, []).append(seconds)
        self.kept[name] = {**child.memory(), "probabilities": child.answer()}
        self.section.say(f"round {number + 1}, {name}: {taken['score']:.1f} s")

    def _warmed(self, child: Child) -> dict[str, float]:
        child.take(self.inputs.films(self.few))
        return child.warm_up(("score",))

    def _drop(self, child: Child, error: FailedError) -> None:
        """One that failed takes no part any more; the rounds that it has done count."""
        child.kill()
        self.running.discard(child.contender.name)
        self.floor = None if child is self.floor else self.floor
        self.left_out.append({"name": child.contender.name, "why": str(error)})
        self.section.say(f"{child.contender.name} takes no part any more: {error}")


def measure(inputs: Inputs, films: int, rounds: int, section: Section, *, seldom: bool = True) -> dict[str, Any]:
    """The section "scoring" of the record; each round goes to it when it is done.

    seldom  whether the slow contenders, which take part in the first round only, take part at all
    """
    first, *others = own_contenders(inputs)
    floors = Contender(name="floors", script="floors", theirs=False)
    no_file = not inputs.onnx.is_file()
    peers = [one for one in PEERS if (seldom or not one.seldom) and not (no_file and one.script == "onnx_prefetch")]
    with started([first, SCRIPT, *others, floors, *peers], inputs, films, section) as (children, failed):
        if no_file:
            failed["ONNX Runtime"] = inputs.why_not(theirs=True) or "the network could not be exported"
        contest = Contest(inputs, films, section, children, failed)
        contest.fit(contest.warm_up(), rounds)
        done, whole, longest = 0, True, 0.0
        while done < rounds and whole and (not done or not section.over(longest)):
            before = section.used()
            whole = contest.round(done)
            done, longest = done + 1, max(longest, section.used() - before)
            section.say(f"round {done} of {rounds} done" if whole else f"round {done} of {rounds} cut short")
            section.keep(contest.result(done))
        if done < rounds or not whole:
            section.note(
                f"ended at its time limit: {done} of {rounds} rounds{'' if whole else ', the last incomplete'}"
            )
        return contest.result(done)


def works(child: Child) -> Iterator[str]:
    yield from (work for work in ("score", "forward") if work in child.works)


def row(child: Child, contest: Contest) -> dict[str, Any]:
    seconds = contest.seconds[child.contender.name]
    rates = [contest.films / one for one in seconds["score"]]
    forward = [contest.bare / one for one in seconds.get("forward", ())]
    return {
        "name": child.contender.name,
        "does": child.contender.does,
        "maps": child.contender.maps,
        "versions": child.versions,
        "startup_seconds": child.startup,
        "films_per_second": median(rates),
        "rounds": rates,
        "forward_films_per_second": median(forward) if forward else None,
        **contest.kept[child.contender.name],
    }


def _with_differences(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row with how far its probabilities are from the reference's, at most, instead of them."""
    answers = {one["name"]: one.pop("probabilities") for one in rows}
    reference = answers.get(REFERENCE)
    for one in rows:
        apart = None if reference is None else float(np.abs(answers[one["name"]] - reference).max())
        one["probability_difference"] = apart
    return rows


def floors_of(seconds: Mapping[str, Sequence[float]], films: int) -> dict[str, float]:
    middle = {work: median(found) for work, found in seconds.items()}
    rates = {f"{work} films_per_second": films / one for work, one in middle.items() if "product" not in work}
    products = {f"{work} gflops": PRODUCT / one / 1e9 for work, one in middle.items() if "product" in work}
    return {name.replace(" ", "_"): value for name, value in {**products, **rates}.items()}
