"""cxrscore: train, score and explain chest X-ray classifiers.

The names below are the public ones. They are loaded at first use, so that ``import cxrscore`` is fast.
"""

TYPE_CHECKING = False  # importing typing, or anything else, could import a file of the current folder: see search_path
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "load": "cxrscore.api",
    "Classifier": "cxrscore.api",
    "FilmArray": "cxrscore.api",
    "Status": "cxrscore.images",
    "train": "cxrscore.api",
    "TrainOptions": "cxrscore.training",
    "score": "cxrscore.api",
    "ScoreOptions": "cxrscore.scoring",
    "Partition": "cxrscore.scoring",
    "merge_scores": "cxrscore.merge",
    "MergeOptions": "cxrscore.merge",
    "report": "cxrscore.api",
    "open_named_scores": "cxrscore.reporting",
    "import_model": "cxrscore.import_checkpoint",
    "ImportOptions": "cxrscore.import_checkpoint",
    "quantize_model": "cxrscore.quantize",
    "QuantizeOptions": "cxrscore.quantize",
    "export_scores": "cxrscore.export",
    "ExportOptions": "cxrscore.export",
    "describe_file": "cxrscore.show",
    "reproduce_paper": "cxrscore.paper",
    "PaperOptions": "cxrscore.paper",
    "load_model": "cxrscore.models.model_file",
    "save_model": "cxrscore.models.model_file",
    "open_scores": "cxrscore.scorefile",
    "RemotePath": "cxrscore.remote",
    "hookimpl": "cxrscore.contract",
    "ModelSpec": "cxrscore.contract",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> "Any":
    if name not in _HOMES:
        raise AttributeError(f"module 'cxrscore' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
