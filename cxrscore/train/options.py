"""What decides a training run, and what it ended with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """All that decides a training run; what ``cxrscore train`` takes, under the same names.

    films, labels  folder of films; label table (None: labels.csv in or beside the folder)
    split          CSV with the columns film,split; None: 70/10/20 by patient, drawn with ``seed``
    views          augmented views of each training film (0: none); with a frozen base they are embedded once
                   and cycled through by epoch, else a new one is drawn each epoch
    monitor        figure by which the best epoch is chosen: valid_macro_auc, valid_loss or train_loss
    patience       epochs without a better monitored figure after which training stops
    threshold_rule how operating points are chosen on the validation films (metrics.operating.RULES)
    calibration    fitted on the validation films: none, temperature (one number) or platt (a line a finding)
    resume         go on from the last epoch of a run that was stopped, where there is one
    """

    films: Path = Path("films")
    labels: Path | None = None
    output: Path = Path("model.safetensors")
    backend: str = "keras"
    architecture: str = "densenet121"
    weights: str = "imagenet"
    size: int = 400
    normalize: str | None = None
    head: str = "gap"
    activation: str = "sigmoid"
    trainable: str = "head"
    loss: str = "weighted-bce"
    epochs: int = 80
    batch_size: int = 16
    learning_rate: float = 1e-3
    monitor: str = "valid_macro_auc"
    patience: int = 10
    views: int = 0
    split: Path | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    workers: int = 2
    threshold_rule: str = "youden"
    calibration: str = "none"
    resume: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run ended with. macro_auc is that of the validation films at the chosen epoch, test_auc that of the
    test films, looked at once; NaN where no finding has both classes."""

    output: Path
    run_folder: Path
    films: dict[str, int]
    failed: dict[str, str]
    best_epoch: int
    history: list[dict[str, float]]
    macro_auc: float
    test_auc: float
