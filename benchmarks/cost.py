"""What a film costs a DenseNet121: floating-point operations, counted layer by layer."""

from __future__ import annotations

from cxrscore.networks.tensors import DENSENET121_BLOCKS, DENSENET121_GROWTH


def gflop(size: int) -> float:
    """10^9 operations of the convolutions for one film of so many pixels a side, two for a product and its sum."""
    side = (size + 1) // 2
    total, channels = _convolution(side, 7, 3, 64), 64
    side = (side + 1) // 2
    for number, layers in enumerate(DENSENET121_BLOCKS, start=1):
        for _ in range(layers):
            total += _convolution(side, 1, channels, 4 * DENSENET121_GROWTH)
            total += _convolution(side, 3, 4 * DENSENET121_GROWTH, DENSENET121_GROWTH)
            channels += DENSENET121_GROWTH
        if number < len(DENSENET121_BLOCKS):
            total += _convolution(side, 1, channels, channels // 2)
            channels, side = channels // 2, side // 2
    return total / 1e9


def _convolution(side: int, kernel: int, channels: int, filters: int) -> int:
    return 2 * side**2 * kernel**2 * channels * filters
