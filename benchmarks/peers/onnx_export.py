"""Writes the network as an ONNX file, with torch: python onnx_export.py NETWORK.npz SIZE OUT.onnx"""

from __future__ import annotations

import sys
import warnings

import torch
from plain_network import densenet121

network, size, output = sys.argv[1], int(sys.argv[2]), sys.argv[3]
warnings.simplefilter("ignore")
torch.onnx.export(
    densenet121(network),
    (torch.zeros(1, 3, size, size),),
    output,
    input_names=["films"],
    output_names=["logits"],
    dynamic_axes={"films": {0: "films"}, "logits": {0: "films"}},
    dynamo=False,
)
