"""ViT-B/14 as in DINOv2, with layer scale and a class token: Oquab et al., DINOv2, TMLR 2024; Dosovitskiy et al., ICLR
2021. The network of RAD-DINO (Perez-Garcia et al., Nature Machine Intelligence 2025).

A 518-pixel film has 37 x 37 patches of 14 pixels; for other sizes the position embeddings are interpolated. The map
that the head pools, and where heat maps are taken, is that of the patch tokens after the last normalisation.
"""

from __future__ import annotations

from cxrscore.networks.graph import FILM, GraphBuilder, Network

WIDTH, HEADS, LAYERS, PATCH, SIZE = 768, 12, 12, 14, 518
EPSILON = 1e-6


def vit_b14() -> Network:
    """The network."""
    graph = GraphBuilder()
    x = graph.add("patches", "conv2d", FILM, filters=WIDTH, size=PATCH, stride=PATCH)
    x = graph.add("tokens", "embed_tokens", x, grid=SIZE // PATCH)
    for number in range(1, LAYERS + 1):
        x = _layer(graph, f"layer{number}", x)
    x = graph.add("norm", "layer_norm", x, epsilon=EPSILON)
    class_token = graph.add("class_token", "class_token", x)
    return Network(
        name="vit_b14",
        output=graph.add("patch_map", "patch_map", x),
        nodes=graph.nodes,
        class_token=class_token,
        stages=("patches", *(f"layer{number}_norm1" for number in range(1, LAYERS + 1))),
        size=SIZE,
        summary="ViT-B/14 of DINOv2 (Oquab et al., TMLR 2024), the network of RAD-DINO",
    )


def _layer(graph: GraphBuilder, name: str, x: str) -> str:
    given = graph.add(f"{name}_norm1", "layer_norm", x, epsilon=EPSILON)
    parts = [graph.add(f"{name}_{part}", "dense", given, units=WIDTH) for part in ("query", "key", "value")]
    new = graph.add(f"{name}_attention", "attention", *parts, heads=HEADS)
    new = graph.add(f"{name}_projection", "dense", new, units=WIDTH)
    x = graph.add(f"{name}_add1", "add", x, graph.add(f"{name}_scale1", "scale", new))
    new = graph.add(f"{name}_norm2", "layer_norm", x, epsilon=EPSILON)
    new = graph.add(f"{name}_gelu", "gelu", graph.add(f"{name}_dense1", "dense", new, units=4 * WIDTH))
    new = graph.add(f"{name}_dense2", "dense", new, units=WIDTH)
    return graph.add(f"{name}_add2", "add", x, graph.add(f"{name}_scale2", "scale", new))
