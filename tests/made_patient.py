"""A made-up patient and the UIDs of a film, for the tests of what is copied from DICOM films."""

from __future__ import annotations

PATIENT_ATTRIBUTES = {
    "PatientName": "Müller^Zacharias",
    "PatientID": "MRN-778899",
    "IssuerOfPatientID": "Klinik Nord",
    "PatientBirthDate": "19480503",
    "PatientSex": "M",
    "StudyDate": "20190102",
    "StudyTime": "030405",
    "StudyID": "S-4711",
    "AccessionNumber": "ACC-0815",
    "ReferringPhysicianName": "Doktor^Überweiser",
}
UIDS = {
    "StudyInstanceUID": "1.2.826.1.1",
    "SeriesInstanceUID": "1.2.826.1.2",
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1",
    "SOPInstanceUID": "1.2.826.1.3",
}
