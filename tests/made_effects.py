"""Entries of a model file on the effect of lower precisions, as `cxrscore quantize` writes them."""

EFFECT = {
    "backend": "openvino",
    "framework": "openvino 2026.4.1",
    "device": "cpu",
    "native": ["bf16", "fp32", "int8"],
    "films": 300,
    "max_difference": 0.02,
    "mean_difference": 0.001,
    "labelled_films": 133,
    "macro_auc_before": 0.8,
    "macro_auc_after": 0.798,
}
BOUND = {"max_difference": 0.02, "max_auc_loss": 0.002}
QUANTIZATION = {"model": "a" * 64, "backend": "openvino", "films": 9, "fingerprint": "b" * 64, "ranges": {}}
