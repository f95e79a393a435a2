"""What each column of a label table is read as: film, patient, finding, another attribute, or nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError
from cxrscore.io.strict_json import unicode_text

FILM_COLUMNS = (
    *("film", "imageindex", "image", "path", "filename", "file", "filepath", "imagename", "imageid", "imagepath"),
    *("imagefilename", "imagefile", "imgname", "imgid", "img", "imgpath", "dicomid", "dicomfile", "dicompath"),
    *("sopinstanceuid", "instanceuid", "filmid", "filmname", "pathtoimage", "fpath"),
)
"""Names of the column of the films without regard to case, spaces and punctuation, the preferred ones first."""
PATIENT_COLUMNS = (
    *("patient", "patientid", "patientidentifier", "patientnumber", "patientno", "patientnr", "patientkey"),
    *("patientcode", "patientname", "mrn", "empi", "subject", "subjectid", "pid", "person", "participant"),
    *("pseudonym", "ptno"),
)
"""Likewise of the column of the patients. _IS_PATIENT knows more of them."""
_HIDDEN = r"(?:anon(?:ym(?:ou|i[sz]ed?)?)?s?|de?id(?:entified)?|pseudo(?:nym(?:i[sz]ed|ous)?)?|hash(?:ed)?|encrypted)"
_WHICH = rf"(?:unique|new|old|orig(?:inal)?|study|trial|research|internal|local|source|dicom|hospital|{_HIDDEN})"
_WHO = (
    r"(?:patient(?:en|s|in)?|pat|pt|paciente?|pacient|paziente|subject|subj|person|probanden?|participants?|proband"
    r"|individual)"
)
_NUMBER = rf"(?:identifier|ids?|uid|uuid|num(?:ber|mer|ero)?|no|nr|key|code|name|index|sk|{_HIDDEN})"
_NO_FINDING_WORDS = frozenset(
    (
        *(
            "sex",
            "gender",
            "male",
            "female",
            "age",
            "race",
            "ethnicity",
            "fold",
            "folds",
            "split",
            "date",
            "id",
            "index",
        ),
        *("train", "training", "valid", "validation", "test", "testset", "holdout", "study", "offset", "year"),
    )
)
"""Words of a name that is no finding: sex_M, Fold 1, age_over_65, is_in_test."""
_IS_PATIENT = re.compile(
    rf"{_WHICH}*{_WHO}{_NUMBER}+|{_WHICH}*patient|{_NUMBER}{_WHO}|{_WHICH}*{_WHO}{_HIDDEN}{_NUMBER}?"
    rf"|{_WHICH}*(?:patient|pt|pat)?(?:mrn|emrn|empi|uhid)(?:id|no|nr|num(?:ber)?)?"
    rf"|{_WHICH}*(?:medical|health)record(?:id|no|nr|number)?"
    r"|(?:hospital|chart|nhs|chi|mr|socialsecurity)(?:no|nr|number)|case(?:id|no|nr|number)|ssn|患者(?:id|号|編号|编号)?"
    rf"|{_HIDDEN}(?:id|no|nr|number|key|code)"
)
SEX_COLUMNS = ("sex", "gender", "patientsex", "patientgender")
AGE_COLUMNS = ("age", "patientage", "ageyears", "ageinyears", "ageatstudy", "patientageyears")
VIEW_COLUMNS = ("view", "viewposition", "projection")
NO_FINDING_COLUMNS = frozenset(
    (
        *("male", "female", "ismale", "isfemale", "man", "woman", "fold", "folds", "kfold", "cvfold", "split", "set"),
        *("subset", "partition", "train", "istrain", "training", "valid", "val", "validation", "isvalid", "isval"),
        *("test", "istest", "testset", "dev", "holdout", "index", "id", "rowid", "row", "number", "no", "nr", "num"),
        *("ap", "pa", "isap", "ispa", "appa", "lateral", "frontal", "islateral", "isfrontal", "frontallateral"),
        *("portable", "isportable", "supine", "erect", "pediatric", "paediatric", "followup", "visit", "study"),
        *("studyid", "seriesid", "accession", "accessionnumber", "date", "time", "year", "site", "hospital", "center"),
        *("centre", "scanner", "device", "manufacturer", "race", "ethnicity", "weight", "height", "bmi", "smoker"),
        *("smoking", "insurance", "reader", "radid", "annotator", "inpatient", "outpatient", "icu", "died", "dead"),
        *("death", "mortality", "survival", "sampleweight", "quality", "exclude", "excluded", "include", "included"),
        *("männlich", "maennlich", "weiblich", "geschlecht", "homme", "femme", "sexe", "hombre", "mujer", "sexo"),
        *("masculino", "femenino", "feminino", "maschio", "femmina", "sesso", "vrouw", "geslacht"),
        *("duplicate", "isduplicate", "rotated", "inverted", "unnamed0", "unnamed", *SEX_COLUMNS, *AGE_COLUMNS),
    )
)
"""Columns that are no finding unless the user names them, even if they hold 0 and 1 only."""
_LONGEST = 60
"""Characters of the name of a column that may be the patient."""
_MAYBE_PATIENT = re.compile(
    r"patient|pacient|pazient|subj|person|participant|proband|mrn|pseudo|anon|individual|member"
)
_MAYBE_WORDS = frozenset(("pat", "pt", "pid", "chart", "client", "case", "record", "nhs", "family", "uid", "hash"))
"""Words of a name, of which one may mean the patient."""
_NOT_A_PATIENT = re.compile(
    r"age|sex|gender|race|ethnic|birth|size|weight|height|orient|position|date|time|class|status|type|count|history"
    r"|instance|series|sop|film|image|accession|reader|report|site|scanner|device|ward|room"
)
_IDENTIFIER = re.compile(r"(?=.*\d)(?=.*[^\W\d_])[\w.-]{3,64}")
_FEWEST, _MOST_FILMS = 3, 20
"""Distinct identifiers of a column that may be the patient, and the mean number of films of each."""
_SHOWN = 8
MAX_NAMES, MAX_LENGTH = 50, 200
"""Names of columns, and characters of a name, that the record of a table keeps: a table may have 100,000 columns."""


def plain_name(column: str) -> str:
    """The letters and digits of a column's name, in lower case: "Patient ID" and "PATIENT_ID" are "patientid"."""
    return re.sub(r"[\W_]+", "", column.casefold())


def has_columns(columns: Sequence[str], names: Iterable[str]) -> bool:
    """Whether there are columns of all these names, without regard to case, spaces and punctuation."""
    return set(map(plain_name, names)) <= set(map(plain_name, columns))


def respelled(columns: Sequence[str], names: Iterable[str]) -> tuple[str, ...]:
    """The columns, in the spelling of these names: "image_index" becomes "Image Index", as far as one column is meant
    and none is spelled so.

    Examples
    --------
    >>> respelled(["Image.Index", "patient id", "Age", "age"], ["Image Index", "Patient ID", "AGE"])
    ('Image Index', 'Patient ID', 'Age', 'age')
    """
    spelling = {plain_name(name): name for name in names if name not in columns}
    if not spelling:
        return tuple(columns)
    plain = [plain_name(column) for column in columns]
    times = Counter(plain)
    return tuple(
        spelling[found] if found in spelling and times[found] == 1 else column
        for found, column in zip(plain, columns, strict=True)
    )


def find_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The column with the first of these plain names that there is; None if there is none."""
    plain: dict[str, str] = {}
    for column in columns:
        plain.setdefault(plain_name(column), column)
    return next((plain[name] for name in names if name in plain), None)


def patient_column(columns: Sequence[str]) -> str | None:
    """The column that by its name identifies the patients; None if there is none."""
    return find_column(columns, PATIENT_COLUMNS) or next(filter(_is_patient, columns), None)


def _is_patient(name: str) -> bool:
    return len(name) <= _LONGEST and _IS_PATIENT.fullmatch(plain_name(name)) is not None


def maybe_patients(columns: Sequence[str], cells: Mapping[str, Sequence[str]] | None = None) -> tuple[str, ...]:
    """Columns that may identify the patient, but are not known to: by their names, or, where cells are given, because
    a few films each share an identifier."""
    given = cells or {}
    return tuple(name for name in columns if _may_be_patient(name, given.get(name, ())))


def _may_be_patient(name: str, cells: Sequence[str]) -> bool:
    plain, words = plain_name(name), name_words(name[:_LONGEST])
    if plain in (*SEX_COLUMNS, *AGE_COLUMNS, *VIEW_COLUMNS) or _NOT_A_PATIENT.search(plain):
        return False
    if _MAYBE_PATIENT.search(plain) is not None or not _MAYBE_WORDS.isdisjoint(words):
        return True
    return not is_no_finding(name) and _few_films_each(cells)


def _few_films_each(cells: Sequence[str]) -> bool:
    """Whether the cells are identifiers of letters and digits, each of a few films."""
    distinct = set(cells) - {""}
    filled = len(cells) - cells.count("")
    if len(distinct) < _FEWEST or not 1 < filled / len(distinct) <= _MOST_FILMS:
        return False
    return sum(_IDENTIFIER.fullmatch(cell) is not None for cell in distinct) > 0.9 * len(distinct)


def name_words(column: str) -> list[str]:
    """The words of a column's name, in lower case.

    Examples
    --------
    >>> name_words("PatID"), name_words("sex_M"), name_words("Fold 1")
    (['pat', 'id'], ['sex', 'm'], ['fold', '1'])
    """
    return [word.casefold() for word in re.findall(r"[A-Z]+(?![^\W\d_A-Z])|[^\W\d_][^\W\d_A-Z]*|\d+", column)]


def is_no_finding(name: str) -> bool:
    """Whether a column is known to be no finding, even if it holds 0 and 1 only."""
    return plain_name(name) in NO_FINDING_COLUMNS or not _NO_FINDING_WORDS.isdisjoint(name_words(name[:_LONGEST]))


def named_column(name: str, option: str, path: Path, columns: Sequence[str]) -> str:
    """The column that an option names, exactly or without regard to case, spaces and punctuation; InputError if there
    is none, or several."""
    if name in columns:
        return name
    alike = [column for column in columns if column and plain_name(column) == plain_name(name)]
    if len(alike) == 1:
        return alike[0]
    met = f"could be {' or '.join(map(repr, alike))}" if alike else "is not there"
    raise InputError(f"{option} names the column {name!r}, which {met} in {path}; it has {_some(columns)}")


@dataclass(frozen=True, kw_only=True)
class ColumnRoles:
    """What the columns of a table are read as.

    film      column of the films; "" if several make it
    patient   column of the patients; "" if there is none
    findings  columns with findings: one finding each, or all of them in one; with the name of the finding where a user
              gave another one
    others    columns of further attributes, such as sex, age and view
    ignored   columns that are not read
    unsure    those of ``others`` that hold labels only, and might be findings
    """

    film: str
    patient: str = ""
    findings: tuple[str, ...]
    others: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()

    @property
    def record(self) -> dict[str, Any]:
        """For the record of the table in models and scores files."""
        return {
            "film": unicode_text(self.film),
            "patient": unicode_text(self.patient),
            "findings": _texts(self.findings),
            "others": _texts(self.others),
            "ignored": _texts(self.ignored),
        }


def _texts(names: Sequence[str]) -> list[str]:
    """At most MAX_NAMES names, as a file stores them."""
    return [unicode_text(name)[:MAX_LENGTH] for name in names[:MAX_NAMES]]


def finding_words(finding: str, column: str) -> str:
    """A column of a finding, with the name of the finding if that is another one.

    Examples
    --------
    >>> finding_words("Effusion", "fluid"), finding_words("Effusion", "effusion")
    ('Effusion (fluid)', 'effusion')
    """
    return column if plain_name(finding) == plain_name(column) else f"{finding} ({column})"


def fixed_roles(
    film: str, findings: Sequence[str], *, patient: str = "", others: Sequence[str] = ()
) -> Callable[[Sequence[str]], ColumnRoles]:
    """The roles of a layout whose columns have fixed names, in any spelling, of which a table may lack some; all others
    are ignored."""
    known = (film, patient, *findings, *others)

    def roles(columns: Sequence[str]) -> ColumnRoles:
        has = {name: column for name, column in zip(respelled(columns, known), columns, strict=True) if name in known}
        return ColumnRoles(
            film=has.get(film, ""),
            patient=has.get(patient, ""),
            findings=tuple(has[name] for name in findings if name in has),
            others=tuple(has[name] for name in others if name in has),
            ignored=tuple(name for name in columns if name and name not in has.values()),
        )

    return roles


@dataclass(frozen=True, kw_only=True)
class LayoutDataset(Dataset):
    """A layout of cxrscore's own.

    roles             function(columns) -> ColumnRoles: what its columns are read as
    one_row_per_film  whether its rows are the films of the LabelTable, in the same order
    blanks            whether an unknown label of it is a blank cell, and nothing else
    """

    roles: Callable[[Sequence[str]], ColumnRoles]
    one_row_per_film: bool = True
    blanks: bool = True


def roles_of_table(table: LabelTable, columns: Sequence[str], canonical: Callable[[str], str]) -> ColumnRoles:
    """What can be said of the columns of a table that another package read: the findings and attributes by their
    names."""
    findings = tuple(name for name in columns if name and canonical(name) in table.findings)
    others = tuple(name for name in columns if name in table.columns and name not in findings)
    return ColumnRoles(film="", findings=findings, others=others)


def _some(names: Sequence[str]) -> str:
    there = [name for name in names if name]
    return ", ".join(there[:_SHOWN]) + (f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else "")
