"""Scores in memory, as a run over 200 films might have left them, for the tests of the report."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from cxrscore.images import Status
from cxrscore.scorefile.data import SPLITS, FilmRows, HeatMaps, Scores, Thumbnails

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip

EVIL = "ward 3/<script>alert(1)</script>.png"
TURNED = "ward 3/film\u202egnp.exe"

FAILED = (
    (11, Status.DAMAGED, "the file ends after 4,096 of 181,322 bytes"),
    (47, Status.BLANK, "all pixels are 0"),
    (90, Status.NOT_AN_IMAGE, "starts with <html>, expected PNG, JPEG or DICOM"),
    (133, Status.TOO_LARGE, "16384 x 16384 pixels, more than 100 million"),
    (178, Status.NOT_CHEST, "modality MR, expected CR, DX or RG"),
)


def made_scores(films: int = 200, *, labels: bool = True, split: str = "test", seed: int = 7) -> Scores:
    """Films of which the five of FAILED failed; the first 40 were trained on, 20 validated, the others are ``split``.

    Hernia is never labelled positive, so that its AUC is undefined; Fibrosis has one unknown label in ten.
    """
    random = np.random.default_rng(seed)
    frequency = random.uniform(0.04, 0.3, len(FINDINGS))
    truth = (random.random((films, len(FINDINGS))) < frequency).astype(np.float32)
    truth[:, FINDINGS.index("Hernia")] = 0
    logit = random.normal(-2.2 + 1.7 * truth, 1.1).astype(np.float32)
    truth[::10, FINDINGS.index("Fibrosis")] = np.nan
    if not labels:
        truth[:] = np.nan
    status = np.full(films, Status.OK, np.uint8)
    message = [""] * films
    for row, code, words in FAILED:
        status[row], message[row], logit[row] = code, words, np.nan
    prob = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return Scores(
        findings=FINDINGS,
        films=_rows(films, status, message, split),
        logit=logit,
        prob=prob,
        prob_uncalibrated=prob,
        truth=truth,
        thresholds=np.where(np.arange(len(FINDINGS)) == 13, np.nan, 0.3).astype(np.float32),
        heat_maps=_heat_maps(prob, random),
        thumbnails=_thumbnails(films),
        provenance=provenance(films),
    )


def _rows(films: int, status: np.ndarray, message: list[str], split: str) -> FilmRows:
    path = [f"ward {1 + row % 3}/{row:08d}_000.png" for row in range(films)]
    path[47], path[90] = EVIL, TURNED
    codes = np.full(films, SPLITS.index(split), np.uint8)
    codes[:40], codes[40:60] = SPLITS.index("train"), SPLITS.index("valid")
    return FilmRows(
        path=tuple(path),
        sha256=tuple(f"{row:064x}" for row in range(films)),
        status=status,
        message=tuple(message),
        kind=("png",) * len(message),
        modality=("",) * len(message),
        view=("",) * len(message),
        width=np.full(films, 1024, np.uint32),
        height=np.full(films, 1024, np.uint32),
        split=codes,
        patient=np.arange(films, dtype=np.int32),
    )


def _heat_maps(prob: np.ndarray, random: np.random.Generator) -> HeatMaps:
    """Four maps of 13x13 for each film, the least probable first: one bump of evidence on a negative ground; the first
    of them without any."""
    film, finding, maps = [], [], []
    y, x = np.mgrid[:13, :13]
    for row in range(0, len(prob), 2):
        for rank, column in reversed(list(enumerate(np.argsort(-np.nan_to_num(prob[row]))[:4]))):
            cy, cx = random.uniform(3, 10, 2)
            height = 6.0 * prob[row, column] if rank < 3 else 0.0
            maps.append(height * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 6) - 0.2)
            film.append(row)
            finding.append(column)
    return HeatMaps(
        map=np.nan_to_num(np.array(maps)).astype(np.float16),
        film=np.array(film, np.int32),
        finding=np.array(finding, np.int16),
    )


def _thumbnails(films: int) -> Thumbnails:
    rows = np.arange(0, films, 2, dtype=np.int32)
    drawn = _drawn_films()
    return Thumbnails(film=rows, pixels=np.stack([drawn[row % len(drawn)] for row in rows]))


@functools.cache
def _drawn_films() -> tuple[np.ndarray, ...]:
    return tuple(drawn_film(256, np.random.default_rng(seed)) for seed in range(5))


def drawn_film(side: int, random: np.random.Generator) -> np.ndarray:
    """uint8 [side,side]: a bright body with two dark lungs, ribs, a heart and noise."""
    y, x = np.mgrid[:side, :side] / side + random.normal(0, 0.01, (2, 1, 1))
    film = 150 * np.exp(-(((x - 0.5) / 0.42) ** 6))
    for centre in (0.31, 0.69):
        film -= 95 * np.exp(-(((x - centre) / 0.14) ** 4) - ((y - 0.48) / 0.3) ** 4)
    film += 22 * np.sin(60 * (y + 0.6 * (x - 0.5) ** 2)) * np.exp(-(((x - 0.5) / 0.36) ** 6))
    film += 70 * np.exp(-(((x - 0.55) / 0.12) ** 4) - ((y - 0.64) / 0.14) ** 4)
    film += 45 * np.exp(-(((x - 0.5) / 0.04) ** 4)) + 60 * (y > 0.82) + random.normal(0, 7, film.shape)
    return np.clip(film, 0, 255).astype(np.uint8)


def history(epochs: int = 30) -> list[dict[str, float]]:
    """Losses that fall, the validation loss rising again after epoch 17."""
    return [
        {
            "epoch": epoch,
            "train_loss": 0.15 + 0.85 / (1 + 0.25 * epoch),
            "valid_loss": 0.35 + 0.65 / (1 + 0.25 * epoch) + 0.0006 * max(epoch - 17, 0) ** 2,
            "valid_macro_auc": 0.5 + 0.28 * (1 - 1 / (1 + 0.3 * epoch)) - 0.0003 * max(epoch - 17, 0) ** 2,
            "seconds": 3.1,
        }
        for epoch in range(1, epochs + 1)
    ]


def provenance(films: int) -> dict[str, Any]:
    training = {
        "created": "2025-03-01T10:20:30+00:00",
        "cxrscore": "0.1.0",
        "backend": "keras",
        "versions": {"keras": "3.15.1"},
        "seed": 0,
        "recipe": {"loss": "weighted-bce", "epochs": 30, "batch_size": 16},
        "weights": {"name": "densenet121 ImageNet", "sha256": "ab" * 32, "licence": "MIT"},
        "history": history(),
        "best_epoch": 20,
        "monitor": "valid_macro_auc",
        "split": {"train": 40, "valid": 20, "test": 140, "rule": "by patient", "sha256": "cd" * 32},
        "patients": films,
        "labels": {"file": "labels.csv", "dataset": "nih", "sha256": "ef" * 32},
        "has_leakage": False,
    }
    spec = {
        "architecture": "densenet121",
        "findings": list(FINDINGS),
        "size": 400,
        "normalize": "imagenet-rgb",
        "head": "gap",
        "activation": "sigmoid",
        "trainable": "head",
    }
    return {
        "created": "2025-03-02T09:00:00+00:00",
        "cxrscore": "0.1.0",
        "command": ["cxrscore", "score", "./films", "-o", "out.h5"],
        "seconds": 41.2,
        "films_per_second": 4.854,
        "backend": {
            "name": "keras",
            "framework": "keras 3.15.1 on tensorflow 2.21.0",
            "version": "3.15.1",
            "device": "cpu",
            "precision": "fp32",
            "batch_size": 16,
        },
        "models": [
            {
                "file": "model.safetensors",
                "sha256": "12" * 32,
                "document": {
                    "spec": spec,
                    "preprocessing": {"size": 400, "fit": "stretch", "resize": "area"},
                    "thresholds": {
                        finding: {"prob": 0.3, "rule": "youden", "chosen_on": "valid"} for finding in FINDINGS[:13]
                    },
                    "training": training,
                    "licence": "MIT",
                },
            }
        ],
        "tta": None,
        "explainer": {"name": "grad-cam", "cam_layer": "relu"},
        "films": {"folder": "films", "total": films, "scored": films - 5, "failed": 5, "other_files": 1},
        "labels": {"file": "films/labels.csv", "dataset": "nih", "sha256": "ef" * 32, "labelled_films": films},
        "warnings": [],
    }
