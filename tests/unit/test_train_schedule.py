"""The learning rate from step to step, worked by hand."""

import math

import pytest

from cxrscore.training import TrainOptions
from cxrscore.training.data_loader import Schedule


def factors(**values):
    schedule = Schedule(**values)
    return [schedule.factor(step) for step in range(schedule.steps * schedule.epochs)]


def test_constant_is_one():
    assert factors(steps=2, epochs=3) == [1] * 6


def test_cosine_by_hand():
    # Four steps: (1 + cos 0) / 2, (1 + cos 45) / 2, (1 + cos 90) / 2, (1 + cos 135) / 2; 0 would come next.
    root = math.sqrt(0.5)
    assert factors(steps=2, epochs=2, shape="cosine") == pytest.approx([1, (1 + root) / 2, 0.5, (1 - root) / 2])
    assert Schedule(steps=2, epochs=2, shape="cosine").factor(4) == pytest.approx(0)


def test_warmup_by_hand():
    # One epoch of four steps rises by quarters; the cosine then takes the four steps that are left.
    root = math.sqrt(0.5)
    rising = [0.25, 0.5, 0.75]
    assert factors(steps=4, epochs=2, warmup=1.0) == pytest.approx([*rising, 1, 1, 1, 1, 1])
    found = factors(steps=4, epochs=2, warmup=1.0, shape="cosine")
    assert found == pytest.approx([*rising, 1, 1, (1 + root) / 2, 0.5, (1 - root) / 2])


def test_half_an_epoch_and_all_of_them_may_warm_up():
    assert factors(steps=2, epochs=2, warmup=0.5) == [1, 1, 1, 1]
    assert factors(steps=2, epochs=2, warmup=0.75)[0] == pytest.approx(1 / 1.5)
    assert factors(steps=2, epochs=2, warmup=2, shape="cosine") == pytest.approx([0.25, 0.5, 0.75, 1])


def test_it_is_that_of_the_options():
    options = TrainOptions(epochs=5, warmup=2.0, schedule="cosine")
    assert Schedule.of(options, 7) == Schedule(steps=7, epochs=5, warmup=2.0, shape="cosine")
