"""What decoder processes and their pool say to each other."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

from cxrscore.images.preprocess import Preprocessing

HEAD = struct.Struct("<QI")
"""Start of an answer: number of its order, length of the JSON text in bytes."""
LONGEST_TEXT = 1 << 20
"""Largest length of that text."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is the same for all orders of a pool.

    preprocessing, also  of the squares of a film, the first one and further ones
    any_modality         as of decode.decode_film
    """

    preprocessing: Preprocessing
    also: tuple[Preprocessing, ...] = ()
    any_modality: bool = False

    @property
    def sides(self) -> list[int]:
        """The sides of the squares of a film, pixels."""
        return [one.size for one in (self.preprocessing, *self.also)]

    @property
    def answer_bytes(self) -> int:
        """About the length of an answer, of a film of 8 bits."""
        return sum(side**2 for side in self.sides) + (64 << 10)

    def line(self) -> bytes:
        """The first line that a decoder process reads."""
        squares = [one.as_dict() for one in (self.preprocessing, *self.also)]
        return json.dumps({"squares": squares, "any_modality": self.any_modality}).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Settings:
        """The inverse of line()."""
        values = json.loads(line)
        first, *more = (Preprocessing.from_dict(one) for one in values["squares"])
        return cls(preprocessing=first, also=tuple(more), any_modality=values["any_modality"])
