"""Every layout is told by its exact header, and by no other; each reads gzipped as it does plain."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cxrscore.errors import InputError
from cxrscore.labels import FINDINGS, LabelRules, datasets, read_labels
from cxrscore.labels.read import read_label_table
from cxrscore.labels.roles import LayoutDataset

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
OBSERVED = CHEXPERT.partition("AP/PA,")[2]
CHEXPERT_PLUS = (
    "path_to_image,path_to_dcm,frontal_lateral,ap_pa,deid_patient_id,patient_report_date_order,report,"
    f"section_findings,section_impression,age,sex,race,ethnicity,split,{OBSERVED}"
)
BRAX = (
    ",DicomPath,PngPath,PatientID,PatientSex,PatientAge,AccessionNumber,StudyDate,No Finding,"
    "Enlarged Cardiomediastinum,Cardiomegaly,Lung Lesion,Lung Opacity,Edema,Consolidation,Pneumonia,Atelectasis,"
    "Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices,ViewPosition,Rows,Columns,Manufacturer"
)
BRAX_FOLDER = "id_9f1c-22/Study_1.2.3/Series_4.5.6/image-7.8.9"
BRAX_ROW = (
    f"0,Anonymized_DICOMs/{BRAX_FOLDER}.dcm,images/{BRAX_FOLDER}.png,9f1c-22,F,85 or more,1.2,20080101,"
    "1.0,,,,,,,,,,,,,,PA,2000,2000,1"
)
CXR_LT = (
    "dicom_id,subject_id,study_id,ViewPosition,ViewCodeSequence_CodeMeaning,Adenopathy,Atelectasis,Azygos Lobe,"
    "Calcification of the Aorta,Cardiomegaly,Clavicle Fracture,Consolidation,Edema,Emphysema,"
    "Enlarged Cardiomediastinum,Fibrosis,Fissure,Fracture,Granuloma,Hernia,Hydropneumothorax,Infarction,Infiltration,"
    "Kyphosis,Lobar Atelectasis,Lung Lesion,Lung Opacity,Mass,Nodule,Normal,Pleural Effusion,Pleural Other,"
    "Pleural Thickening,Pneumomediastinum,Pneumonia,Pneumoperitoneum,Pneumothorax,Pulmonary Embolism,"
    "Pulmonary Hypertension,Rib Fracture,Round(ed) Atelectasis,Subcutaneous Emphysema,Support Devices,Tortuous Aorta,"
    "Tuberculosis,fpath"
)
PCXR = (
    "image_id,rad_ID,No finding,Bronchitis,Brocho-pneumonia,Other disease,Bronchiolitis,Situs inversus,Pneumonia,"
    "Pleuro-pneumonia,Diagphramatic hernia,Tuberculosis,Congenital emphysema,CPAM,Hyaline membrane disease,"
    "Mediastinal tumor,Lung tumor"
)
OPENI = "uid,filename,projection,MeSH,Problems,image,indication,comparison,findings,impression"
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
    "chexpert-studies": (f"Study,{OBSERVED}", "CheXpert-v1.0/test/patient64741/study1,0,1,1,1,0,0,0,0,0,0,0,0,0,1"),
    "chexpert-plus": (
        CHEXPERT_PLUS,
        "train/patient00001/study1/view1_frontal.jpg,a.dcm,Frontal,AP,patient00001,1,text,text,text,68.0,Female,White,"
        "Non-Hispanic,train,1.0,,,,,,,,,0.0,,,,1.0",
    ),
    "brax": (BRAX, BRAX_ROW),
    "cxr-lt": (
        CXR_LT,
        "02aa804e,10000032,50414267,PA,postero-anterior,0,1,"
        + "0," * 38
        + "files/p10/p10000032/s50414267/02aa804e.jpg",
    ),
    "mimic": (MIMIC, "10000032,50414267,,,,,,,,,1.0,,,,,"),
    "padchest": (PADCHEST, PADCHEST_ROW),
    "vindr": (VINDR, "a,R1," + "0," * 27 + "1"),
    "vindr-pcxr": (PCXR, "a,R1,1.0" + ",0.0" * 14),
    "vindr-boxes": ("image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max", "a,Nodule/Mass,8,R1,10,20,30,50"),
    "openi": (OPENI, "1,1_IM-0001-4001.dcm.png,Frontal,normal,normal,Xray Chest,cough,None.,Clear.,Normal."),
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


ALSO = {"nih-google": ["nih"], "cxr-lt": ["mimic"]}
"""Layouts whose tables have the columns of another one, which is tried later."""


@pytest.mark.parametrize("order", [list, sorted, lambda columns: list(reversed(columns))])
@pytest.mark.parametrize("name", sorted(set(TABLES) - {"plain"}))
def test_one_layout_alone_knows_a_header_in_any_order(name: str, order) -> None:
    columns = order([cell.strip() for cell in TABLES[name][0].split(",")])
    knowing = [dataset.name for dataset in datasets if dataset.recognises(columns) and dataset.name != "plain"]
    assert knowing == [name, *ALSO.get(name, [])]


ALL_COLUMNS = ("course", "chexnet", "plain", "vindr-boxes", "nih", "nih-boxes", "padchest", "rsna", "siim", "openi")
"""Layouts in which any column may be a finding, or whose findings are in one or two columns."""


@pytest.mark.parametrize("name", sorted(set(TABLES) - set(ALL_COLUMNS)))
def test_the_roles_name_each_column_once(tmp_path: Path, name: str) -> None:
    header, row = TABLES[name]
    path = written(tmp_path, f"{header},COVID", f"{row},1")
    columns = [cell.strip() for cell in header.split(",")] + ["COVID"]
    (dataset,) = (dataset for dataset in datasets if dataset.name == name)
    assert isinstance(dataset, LayoutDataset)
    roles = dataset.roles(columns)
    used = [roles.film, roles.patient, *roles.findings, *roles.others, *roles.ignored]
    assert sorted(filter(None, used)) == sorted(set(filter(None, columns)))
    assert roles.film
    assert "COVID" in roles.ignored
    assert len(roles.findings) == len(read_labels(path, datasets)[0].findings)


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


def test_the_columns_of_a_layout_in_any_spelling(tmp_path: Path) -> None:
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,Width"
    row = "00000013_005.png,Mass|Effusion,0,x7,061Y,F,AP,1"
    expected, _ = read_labels(written(tmp_path, header, row), datasets)
    for other in (header.lower(), header.upper(), header.replace(" ", "_"), header.replace(" ", ".").replace("#", "")):
        path = written(tmp_path, other, row)
        found, layout = read_labels(path, datasets)
        assert (layout, found.findings, found.patients, dict(found.columns)) == (
            *("nih", expected.findings, ("x7",)),
            {"age": ("61",), "sex": ("F",), "view": ("AP",)},
        )
        np.testing.assert_array_equal(found.labels, expected.labels)
        assert read_label_table(path, datasets).roles.ignored == tuple(other.split(",")[2::5])


@pytest.mark.parametrize(
    ("header", "layout", "rows"),
    [
        ("image.id,rad.id,aortic.enlargement,pleural.effusion", "vindr", ["a,R1,1,0", "a,R2,1,0"]),
        ("IMAGE_ID,CLASS_NAME,CLASS_ID,RAD_ID", "vindr-boxes", ["a,Aortic enlargement,0,R1"]),
        ("DICOM.ID,SUBJECT.ID,STUDY.ID,BULLA,HILUM", "cxr-lt", ["a,10000032,50414267,1,0"]),
        ("imageid,encodedpixels", "siim", ["a,-1"]),
        ("UID,MESH,PROBLEMS,FILENAME,PROJECTION", "openi", ["1,normal,normal,a.png,Frontal"]),
    ],
)
def test_layouts_in_another_spelling(tmp_path: Path, header: str, layout: str, rows: list[str]) -> None:
    table, found = read_labels(written(tmp_path, header, *rows), datasets)
    assert (found, len(table.films)) == (layout, 1)
    if layout == "vindr":
        assert table.findings == ("Aortic enlargement", "Effusion")
    if layout == "cxr-lt":
        assert (table.films, table.patients) == (("p10/p10000032/s50414267/a",), ("10000032",))
