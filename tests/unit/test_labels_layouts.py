"""Every layout is told by its exact header, and by no other; each reads gzipped as it does plain."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cxrscore.errors import InputError
from cxrscore.labels import FINDINGS, LabelRules, datasets, read_labels

FOURTEEN = ",".join(FINDINGS)
ZEROS = ",".join("0" * 13)
NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
CHEXPERT = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
MIMIC = (
    "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,"
    "Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"
)
PADCHEST = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,"
    "MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,PhotometricInterpretation_DICOM,"
    "PixelRepresentation_DICOM,PixelAspectRatio_DICOM,SpatialResolution_DICOM,BitsStored_DICOM,WindowCenter_DICOM,"
    "WindowWidth_DICOM,Rows_DICOM,Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,ExposureInuAs_DICOM,"
    "ExposureTime,RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,Localizations,"
    "LabelsLocalizationsBySentence,labelCUIS,LocalizationsCUIS"
)
VINDR = (
    "image_id,rad_id,Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,Edema,"
    "Emphysema,Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,Mediastinal shift,Nodule/Mass,"
    "Pleural effusion,Pleural thickening,Pneumothorax,Pulmonary fibrosis,Rib fracture,Other lesion,COPD,Lung tumor,"
    "Pneumonia,Tuberculosis,Other diseases,No finding"
)
PADCHEST_ROW = (
    "0,a.png,0,20140915,S1,P1,1930.0,M,POSTEROANTERIOR,PA,Manual review of DICOM fields,No,CR,ImagingDynamics,"
    "MONOCHROME2,0,,0.139,12,1638,3276,2690,3000,,,,,,R1,texto del informe,Physician,\"['normal']\",[],[],[],[]"
)

TABLES = {
    "nih": (NIH, "00000001_000.png,Cardiomegaly|Effusion,0,1,57,M,PA,2682,2749,0.143,0.143"),
    "nih-google": (
        f"{NIH},Fracture,Pneumothorax,Airspace opacity,Nodule or mass,Set Id",
        "00000001_000.png,Cardiomegaly,0,1,57,M,PA,2682,2749,0.143,0.143,NO,NO,YES,NO,test",
    ),
    "nih-boxes": ("Image Index,Finding Label,Bbox [x,y,w,h],,,", "00000001_000.png,Infiltrate,225.1,547.0,86.8,79.2"),
    "chexpert": (
        CHEXPERT,
        "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0",
    ),
    "mimic": (MIMIC, "10000032,50414267,,,,,,,,,1.0,,,,,"),
    "padchest": (PADCHEST, PADCHEST_ROW),
    "vindr": (VINDR, "a,R1," + "0," * 27 + "1"),
    "vindr-boxes": ("image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max", "a,Nodule/Mass,8,R1,10,20,30,50"),
    "rsna": ("patientId,x,y,width,height,Target", "a,264.0,152.0,213.0,379.0,1"),
    "siim": ("ImageId, EncodedPixels", "1.2.276.0.7230010.3.1.4.8323329.1000,119 1 30 2"),
    "course": (f"Image,{FOURTEEN},PatientId", f"00000001_000.png,1,{ZEROS},1"),
    "chexnet": (f"Image Index,{FOURTEEN}", f"00000001_000.png,1,{ZEROS}"),
    "plain": ("film,patient,Mass", "a.png,1,1"),
}


def written(tmp_path: Path, header: str, *rows: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("\n".join([header, *rows, ""]))
    return path


def test_there_is_a_table_of_every_layout() -> None:
    assert set(TABLES) == {dataset.name for dataset in datasets}


@pytest.mark.parametrize("name", TABLES)
def test_a_header_is_told_and_gzip_makes_no_difference(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, *TABLES[name])
    table, layout = read_labels(path, datasets)
    assert layout == name
    assert len(table.films) == len(table.labels) == 1
    assert table.labels.dtype == np.float32
    path.write_bytes(gzip.compress(path.read_bytes()))
    again, layout = read_labels(path, datasets)
    assert layout == name
    np.testing.assert_array_equal(again.labels, table.labels)
    assert (again.films, again.patients, again.columns) == (table.films, table.patients, table.columns)


@pytest.mark.parametrize("name", sorted(set(TABLES) - {"plain"}))
def test_one_layout_alone_knows_a_header(name: str) -> None:
    columns = [cell.strip() for cell in TABLES[name][0].split(",")]
    knowing = [dataset.name for dataset in datasets if dataset.recognises(columns) and dataset.name != "plain"]
    assert knowing[0] == name
    assert knowing[1:] == (["nih"] if name == "nih-google" else [])


def test_what_uncertain_may_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="uncertain is 'maybe', expected unknown, positive, negative"):
        read_labels(written(tmp_path, *TABLES["plain"]), datasets, LabelRules(uncertain="maybe"))


def test_columns_of_sex_age_and_view_have_one_name_each(tmp_path: Path) -> None:
    for name, (header, row) in TABLES.items():
        columns = read_labels(written(tmp_path, header, row), datasets)[0].columns
        if "age" in columns and name != "plain":
            assert columns["sex"][0] in "MF", name
            assert columns["view"][0] in ("PA", "AP"), name
            assert columns["age"][0].isdigit(), name


@pytest.mark.slow
@pytest.mark.shared
def test_the_full_nih_table_needs_little_memory(shared: Path) -> None:
    path = shared / "data" / "nih_tables" / "Data_Entry_2017_v2020.csv.gz"
    tracemalloc.start()
    try:
        read_labels(path, datasets)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6
