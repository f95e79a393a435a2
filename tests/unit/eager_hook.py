"""A hook module as it must not be: what its backend requires is imported with it."""

import colorsys  # in the place of a framework

from numpy_backend import NumpyBackend


class EagerBackend(NumpyBackend):
    requires = (colorsys.__name__,)
