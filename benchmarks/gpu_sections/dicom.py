"""DICOM films in JPEG 2000, made of PNG films."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np


def write_films(films: list[Path], folder: Path) -> None:
    """A DICOM film of each; needs pydicom and imagecodecs."""
    folder.mkdir()
    for film in films:
        pixels = cv2.imread(str(film), cv2.IMREAD_GRAYSCALE)
        assert pixels is not None
        write_dicom(folder / f"{film.stem}.dcm", pixels)


def write_dicom(path: Path, pixels: np.ndarray) -> None:
    """A chest film of 8 bits, lossless JPEG 2000."""
    import imagecodecs
    import pydicom

    dataset: Any = pydicom.Dataset()
    dataset.Modality, dataset.ViewPosition, dataset.BodyPartExamined = "DX", "PA", "CHEST"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", pydicom.uid.generate_uid()
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    frame = imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, level=0)
    dataset.PixelData = pydicom.encaps.encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)
