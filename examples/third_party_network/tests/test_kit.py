"""The network against every case of cxrscore's kit, and its structure against published numbers."""

from math import prod

import pytest
from cxrscore_mobilenet import mobilenetv2

from cxrscore.testing import NetworkCases


class TestMobileNet(NetworkCases):
    @pytest.fixture
    def network(self):
        return mobilenetv2()


def test_it_has_the_parameters_of_torchvision():
    """Which gives 3,504,872, of which 1280 x 1000 + 1000 are those of its classifier."""
    shapes = mobilenetv2().tensor_shapes(224)
    trained = sum(prod(shape) for name, shape in shapes.items() if "/moving_" not in name)
    assert trained == 3_504_872 - 1_281_000


def test_the_maps_have_the_shapes_of_the_paper():
    """Table 2: the input of each row, for films of 224 pixels."""
    network = mobilenetv2()
    shapes = network.shapes(224)
    ends = ("block1_project_bn", "block3_add", "block6_add", "block10_add", "block13_add", "block16_add", "last_relu")
    sides = (112, 56, 28, 14, 14, 7, 7)
    channels = (16, 24, 32, 64, 96, 160, 1280)
    assert [shapes[name] for name in ends] == [(side, side, count) for side, count in zip(sides, channels, strict=True)]
    assert network.output == "last_relu"
