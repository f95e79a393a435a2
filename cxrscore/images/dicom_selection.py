"""Which DICOM objects are chest films: by modality, body part, and whether they are images at all."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from cxrscore.images.film import FilmError, Status
from cxrscore.remote.bounds import DicomAttributes

CHEST_MODALITIES = ("CR", "DX", "RG")

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PIXELS_OF_FLOATS = {"FloatPixelData": "Float Pixel Data", "DoubleFloatPixelData": "Double Float Pixel Data"}
# Storage classes of PS3.4 annex B whose objects have no pixels, as what follows 1.2.840.10008.5.1.4.1.1: overlays and
# curves, waveforms, LUTs, presentation states, spectra, registrations and other raw data, measurements, reports and
# documents, protocols, radiotherapy but for images and doses; and DICOMDIR.
_NOT_IMAGES = re.compile(
    r"1\.2\.840\.10008\.(1\.3\.10|5\.1\.4\.(34|38|39|43|44|45)\..*|5\.1\.4\.1\.1\.(4\.2|8|9|9\..*|10|11|11\..*"
    r"|66|66\.[12356]|67|68\..*|77\.1\.5\.3|7[89]\..*|8[0128]\..*|9[01]\..*|104\..*|129|131|20[01]\..*"
    r"|481\.([3-9]|1\d|2\d)))"
)
MODALITIES_WITHOUT_IMAGES = frozenset(
    (
        *("SR", "PR", "KO", "DOC", "REG", "FID", "PLAN", "SMR", "ECG", "HD", "EPS", "AU", "RESP", "ANN", "STAIN"),
        *("RTSTRUCT", "RTPLAN", "RTRECORD", "RWV", "KER", "AR", "LEN", "VA", "SRF", "IOL", "TEXTUREMAP", "POS"),
    )
)

# Body parts of PS3.16 annex L that a chest film does not show, in words that hospitals use: English, German, French,
# Spanish, Portuguese, Italian, Dutch; without accents. Films with other words are accepted.
_OTHER_PARTS = """
ABD ABDOM ABDOMEN ABDOMINAL ANKLE ARM BRAIN BREAST BUTTOCK CALCANEUM CALCANEUS CALF CARPAL CARPUS CERVICAL CLAVICLE
COCCYX CRANIUM CSPINE ELBOW EXM EXTREMITIE EXTREMITY FACE FACIAL FEET FEMORA FEMUR FIBULA FINGER FOOT FOREARM HALLUX
HAND HEAD HEEL HIP HUMERI HUMERUS JAW KNEE KUB LEG LIMB LSPINE LUMBAR LUMBOSACRAL MANDIBLE MAXILLA METACARPAL
METATARSAL NASAL NECK NOSE OPG ORBIT PATELLA PATELLAE PELVIC PELVIS RADIUS SACRAL SACROILIAC SACRUM SCAPULA SCAPULAE
SHIN SHOULDER SINUS SKULL SPINAL SPINE SSPINE TEETH THIGH THUMB TIBFIB TIBIA TLSPINE TMJ TOE TOOTH TSPINE ULNA
VERTEBRA VERTEBRAE WRIST ZYGOMA
ARME BAUCH BECKEN BEIN BEINE BRUSTWIRBELSAEULE BRUSTWIRBELSAULE BWS DAUMEN ELLBOGEN ELLENBOGEN EXTREMITAET
EXTREMITAETEN EXTREMITAT EXTREMITATEN FERSE FUESSE FUSS FUSSE HAENDE HALS HALSWIRBELSAEULE HANDE HANDGELENK
HANDGELENKE HUEFTE HUEFTEN HUFTE HUFTEN HWS KIEFER KNIE KNIEGELENK KOPF LENDENWIRBELSAEULE LWS NASE OBERARM
OBERSCHENKEL SCHADEL SCHAEDEL SCHLUESSELBEIN SCHULTER SCHULTERN SPRUNGGELENK UNTERARM UNTERSCHENKEL WIRBELSAEULE
WIRBELSAULE ZAEHNE ZAHN ZAHNE ZEHE ZEHEN
AVANTBRAS BASSIN BRAS CHEVILLE CLAVICULE COLONNE COU COUDE CRANE CUISSE DOIGT EPAULE GENOU GENOUX HANCHE JAMBE
MACHOIRE MAIN MEMBRE NEZ ORTEIL PIED POIGNET RACHIS SEIN TALON TETE VENTRE
ANTEBRAZO BRAZO CABEZA CADERA CLAVICULA CODO COLUMNA CRANEO CUELLO DEDO DEDOS EXTREMIDAD HOMBRO MANDIBULA MANO MIEMBRO
MUNECA MUSLO PIE PIERNA RODILLA TOBILLO VIENTRE
ABDOME ABDOMEM ANTEBRACO BACIA BRACO CABECA CALCANEO COLUNA COTOVELO COXA CRANIO JOELHO MAO OMBRO PELVE PERNA PESCOCO
PUNHO QUADRIL QUADRIS TORNOZELO
ADDOME ADDOMI ANCA ANCHE AVAMBRACCIO BACINO BRACCIO CAVIGLIA CAVIGLIE CLAVICOLA COLLO COLONNA COSCIA DITA DITO FEMORE
GAMBA GAMBE GINOCCHIA GINOCCHIO GOMITI GOMITO MANDIBOLA MANI OMERO PELVI PIEDE PIEDI POLSI POLSO RACHIDE SPALLA SPALLE
TALLONE TESTA
ARMEN BEKKEN BENEN BOVENARM BUIK ELLEBOOG ENKEL HANDEN HEUP HEUPEN KNIEEN ONDERBEEN POLSEN SCHEDEL SCHOUDER VOET
VOETEN WERVELKOLOM
"""
_SIDES = "LEFT|RIGHT|BOTH|BILATERAL|UPPER|LOWER|UP|LOW|LT|RT|L|R"
_OTHER_PART = re.compile(
    rf"(?:{_SIDES})?(?:{'|'.join(sorted(_OTHER_PARTS.split(), key=len, reverse=True))})"
    rf"(?:ES|S|JOINT|LATERAL|LAT|AP|PA|{_SIDES})*"
)
_CHEST_PARTS = re.compile(
    r"CHEST|THORA|TORAX|TORAC|PULM|BRUSTKORB|HERZ|HEART|\b[LR]?(LUNG|RIB|RIPPE|COSTA|COSTIL|COSTEL|POUMON|POLMON|POITRINE"
    r"|PECHO|PEITO)"
)
_SPINES = re.compile("SPINE|VERTEBRA|COLUMNA|COLUNA|COLONN|RACHI|WIRBELS|WERVELKOLOM")
_OF_THE_CHEST = re.compile(r"\b(THORACI[CQ]|THORA[CK]AL|TORACIC[AO])\w*")
"""Adjectives that name no chest beside the word for a spine."""


def check_chest(dataset: Any, modality: str, body_part: str) -> None:
    """Raise FilmError unless the object is, or may be, a chest film."""
    if modality not in CHEST_MODALITIES and (modality or is_image(dataset)):
        expected = ", ".join(CHEST_MODALITIES)
        raise FilmError(Status.NOT_CHEST, f"modality {modality or 'unknown'}, expected one of {expected}")
    if has_no_pixels_by_design(dataset, modality):
        raise FilmError(Status.NOT_CHEST, "a DICOM object that is no image, expected a film")
    if modality and is_other_part(body_part):
        raise FilmError(Status.NOT_CHEST, "another body part, expected the chest")


def is_image(dataset: Any) -> bool:
    """Whether the object has pixels, of whatever kind."""
    return any(keyword in dataset for keyword in _PIXELS)


def check_pixels(dataset: Any, modality: str) -> None:
    """Raise FilmError unless the object has Pixel Data, with what it has instead."""
    if "PixelData" in dataset:
        return
    for keyword, words in _PIXELS_OF_FLOATS.items():
        if keyword in dataset:
            raise FilmError(Status.UNSUPPORTED, f"{words}, expected Pixel Data of 8 or 16 bits")
    if has_no_pixels_by_design(dataset, modality):
        said = f"a DICOM object that is no image (modality {modality or 'unknown'}), expected a film"
        raise FilmError(Status.UNSUPPORTED, said)
    if "PixelDataProviderURL" in dataset:
        raise FilmError(Status.UNSUPPORTED, "its pixels are on a server (JPIP), expected Pixel Data")
    raise FilmError(Status.DAMAGED, "DICOM without pixels: they are missing, or truncated")


def has_no_pixels_by_design(dataset: Any, modality: str) -> bool:
    """Whether the object is of a class without pixels, such as a report, or of a private one, and indeed has none."""
    if is_image(dataset):
        return False
    known = str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "").strip("\0 ")
    private = bool(known) and not known.startswith("1.2.840.10008.") and "Rows" not in dataset
    return private or bool(_NOT_IMAGES.fullmatch(known)) or modality in MODALITIES_WITHOUT_IMAGES


def kind_by_attributes(stated: DicomAttributes, modality: str, *, any_modality: bool) -> str:
    """The kind of an object of a PACS that is no film, by what the server states about it; "" for a film, and for what
    may be one.

    Parameters
    ----------
    stated
        What the server states.
    modality
        The Modality if it is a defined term, else "".
    any_modality
        Whether images of modalities other than CR, DX and RG are films, too.
    """
    if "cxrscore" in stated.manufacturer.lower():
        return "cxrscore result"
    if modality in MODALITIES_WITHOUT_IMAGES:
        return f"DICOM {modality} object"
    if _NOT_IMAGES.fullmatch(stated.sop_class):
        return "DICOM non-image object"
    if stated.sop_class in _DERIVED:
        return f"DICOM {_DERIVED[stated.sop_class]}"
    if modality and modality not in CHEST_MODALITIES and not any_modality:
        return f"DICOM {modality} object"
    return ""


_DERIVED = {
    "1.2.840.10008.5.1.4.1.1.30": "parametric map",
    "1.2.840.10008.5.1.4.1.1.66.4": "segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "segmentation",
}
"""Storage classes of images that are made from others."""


def is_other_part(body_part: str) -> bool:
    """Whether a text names a body part that a chest film does not show, and not the chest, too."""
    decomposed = unicodedata.normalize("NFKD", body_part.upper())
    plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    words = " ".join(re.findall(r"[A-Z]+", plain))
    if _CHEST_PARTS.search(_OF_THE_CHEST.sub(" ", words) if _SPINES.search(words) else words):
        return False
    return any(_OTHER_PART.fullmatch(word) for word in words.split())
