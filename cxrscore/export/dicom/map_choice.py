"""Which findings of a film get objects with their heat maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cxrscore.errors import InputError
from cxrscore.export.dicom.objects import FilmScores, FindingMap
from cxrscore.export.options import ABOVE_THRESHOLD, ALL_MAPS
from cxrscore.models.calibration import prevalences
from cxrscore.scorefile import Scores


class MapChoice:
    """The maps of a scores file, by film, and the rule that chooses among them.

    Parameters
    ----------
    scores : Scores
        The scores with their maps.
    maps_of : sequence of str
        As in ExportOptions.

    Raises
    ------
    InputError
        If the scores do not have such a finding.
    """

    def __init__(self, scores: Scores, maps_of: Sequence[str]) -> None:
        named = [name for name in maps_of if name not in (ABOVE_THRESHOLD, ALL_MAPS)]
        if unknown := [name for name in named if name not in scores.findings]:
            raise InputError(f"there is no finding {unknown[0]}; the scores file has {', '.join(scores.findings)}")
        self._scores = scores
        self._rule, self._named = (maps_of[0] if not named else ""), tuple(named)
        self._order = np.argsort(scores.heat_maps.film, kind="stable")
        self._film = scores.heat_maps.film[self._order]
        self._strongest = self._strongest_values()
        self._prevalence: Mapping[str, float] = prevalences(scores.provenance, scores.findings)

    def _strongest_values(self) -> dict[int, float]:
        """The largest finite value of all maps of each finding."""
        maps = self._scores.heat_maps
        peaks = maps.map.reshape(len(maps.map), math.prod(maps.map.shape[1:])).max(axis=1, initial=0.0)
        peaks = np.where(np.isfinite(peaks), peaks, 0)
        return {int(column): float(peaks[maps.finding == column].max()) for column in np.unique(maps.finding)}

    def chosen(self, row: int, scored: FilmScores) -> tuple[dict[str, FindingMap], tuple[str, ...]]:
        """The maps of a film by finding, and the chosen findings of which the scores file has no map."""
        first, last = np.searchsorted(self._film, [row, row + 1])
        maps, names = self._scores.heat_maps, self._scores.findings
        places = {names[int(maps.finding[place])]: int(place) for place in self._order[first:last]}
        wanted = self._findings(scored, [name for name in names if name in places])
        found = {
            name: FindingMap(
                values=maps.map[places[name]].astype(np.float32),
                strongest=self._strongest[names.index(name)],
            )
            for name in wanted
            if name in places
        }
        return found, tuple(name for name in wanted if name not in places)

    def _findings(self, scored: FilmScores, mapped: Sequence[str]) -> Sequence[str]:
        if self._named:
            return self._named
        if self._rule == ALL_MAPS:
            return mapped
        above = scored.above_threshold()
        return above or sorted(mapped, key=lambda name: self._against_prevalence(scored, name))[-1:]

    def _against_prevalence(self, scored: FilmScores, finding: str) -> float:
        """The log-odds of a finding minus those of its prevalence, if it is known: the rule by which `score` chooses
        maps."""
        return _log_odds(scored.probs[finding]) - _log_odds(self._prevalence.get(finding, 0.5))


def _log_odds(probability: Any) -> float:
    p = float(probability)
    return math.log(p / (1 - p)) if 0 < p < 1 else math.inf * (p - 0.5)
