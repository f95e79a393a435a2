"""The Python API: a classifier for files and arrays, and the commands as functions.

The functions take the options of the commands of the same name, raise errors, and print nothing.
"""

from __future__ import annotations

import difflib
import inspect
import os
import threading
import warnings
import weakref
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import ArrayLike, NDArray

from cxrscore import plugins
from cxrscore.contract import FeatureExtractor, Floats, ScorePrecision, takes_any_batch_size
from cxrscore.errors import FilmWarning, InputError, TrackingWarning
from cxrscore.images import DecoderPool, FilmSource, LoadedFilm, Status, as_films, count_notes, load_ahead, load_array
from cxrscore.models.calibration import describe_probabilities
from cxrscore.progress import Log, Progress, no_log, no_progress
from cxrscore.public_models import model_path
from cxrscore.recipes import find_recipe, read_recipe
from cxrscore.remote import Location, StrPath, local_path, one_or_several
from cxrscore.scoring import ScoreOptions, ScoreResult, score_films
from cxrscore.scoring.file_list import FileList
from cxrscore.scoring.inference import BatchScores, Scorer, float_batch, golden_difference
from cxrscore.scoring.run_context import RunContext, prepare_worker
from cxrscore.scoring.target_prevalence import target_prevalence as read_target_prevalence
from cxrscore.system_resources import default_workers
from cxrscore.types import finite_rows

if TYPE_CHECKING:  # each function imports only what it needs: training, or reporting with its plots
    from cxrscore.reporting import NamedScores
    from cxrscore.training import TrainResult

__all__ = ["Classifier", "FilmArray", "load", "report", "score", "train"]

Films: TypeAlias = Location | ArrayLike | Iterable[Location | ArrayLike]
"""One film or several: see images.as_films."""


class _Compute(Protocol):
    """Compute a batch of n films: float32 [n,...], and n texts: the reason why a film has no result, or ""."""

    def __call__(self, batch: Sequence[LoadedFilm], /) -> tuple[Floats, Sequence[str]]: ...


@dataclass(frozen=True, eq=False, repr=False)
class FilmArray(NDArrayOperatorsMixin):
    """An array with one row for each film, and the status of each film.

    It works as a NumPy array: index it, compute with it, pass it to NumPy, scikit-learn or pandas. The result is a
    plain array.

    Attributes
    ----------
    values : float32 [N,...]
        The array itself; NaN in the rows of films that have no result.
    status : uint8 [N]
        Codes of cxrscore.Status: Status.OK, or why a film has no result.
    message : tuple of str
        The reason in words; for a film with status OK a note on how it was read, usually "".

    Examples
    --------
    >>> import numpy as np
    >>> rows = FilmArray(np.array([[0.25], [np.nan]], np.float32), np.array([1, 4], np.uint8), ("", "damaged"))
    >>> rows.shape, rows[0], float(np.nanmax(rows))
    ((2, 1), array([0.25], dtype=float32), 0.25)
    >>> [message for message, code in zip(rows.message, rows.status) if code != 1]
    ['damaged']
    """

    values: Floats
    status: NDArray[np.uint8]
    message: tuple[str, ...]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False and dtype not in (None, self.values.dtype):
            raise ValueError(f"the array is of type {self.values.dtype}, and another type needs a copy")
        return np.array(self.values, dtype=dtype) if copy else self.values.astype(dtype or np.float32, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        plain = (one.values if isinstance(one, FilmArray) else one for one in inputs)
        return getattr(ufunc, method)(*plain, **options)

    def __getitem__(self, key: Any) -> Any:
        return self.values[key]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __getattr__(self, name: str) -> Any:
        """Attributes and methods of the array, such as shape, dtype, mean and T."""
        if name.startswith("_") or name in ("values", "status", "message"):  # during unpickling it has none
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.values, name)

    def __repr__(self) -> str:
        failed = int((self.status != Status.OK).sum())
        return f"FilmArray({self.values!r}, {failed} of {len(self.status)} films without a result)"


def load(
    source: StrPath | Sequence[StrPath],
    *,
    backend: str | None = None,
    device: str = "auto",
    precision: ScorePrecision | Literal["auto"] = "fp32",
    batch_size: int = 8,
    workers: int | None = None,
    progress: Progress = no_progress,
    log: Log = no_log,
    target_prevalence: StrPath | Mapping[str, float] | None = None,
) -> Classifier:
    """Load a model to score films.

    Parameters
    ----------
    source : path or name, or sequence of these
        A model file of ``cxrscore train``, ``import`` or ``quantize``, an ensemble file of ``train``, or the name of a
        public classifier that ``cxrscore weights`` lists, which is downloaded once. With several the probabilities are
        means over the models, which must have the same findings in the same order.
    backend : str, optional
        Backend that computes the scores, such as "torch". None and "auto": the fastest installed one
        that can run the models.
    device : str
        "auto", "cpu", "cuda" or "cuda:N".
    precision : str
        "fp32", "bf16", or "int8" for a model file of ``cxrscore quantize``. "auto": the fastest that this machine
        computes natively and whose measured effect on the scores is within the bound of the model file.
    batch_size : int
        Number of films per batch. Backends other than openvino fill up every batch to this size with
        black films, so 1 is faster if you score films one at a time.
    workers : int, optional
        Processes that decode files; None: one for each core, at most 32.
    progress : callable, optional
        Called as progress(step, done, total) while a public classifier is downloaded.
    log : callable, optional
        Called with size, licence and source before a public classifier is downloaded.
    target_prevalence : path, or mapping of str to float, optional
        Prevalence of findings in your population, by finding or as a CSV file with the header finding,prevalence.
        Probabilities are moved to it from the prevalence of the training films, by the ratio of the odds. The models
        must be calibrated.

    Returns
    -------
    Classifier

    Raises
    ------
    InputError
        If there is no such file, or the models do not have the same findings.
    FileFormatError
        If a file is not a model file, or is damaged.
    BackendUnavailableError
        If the backend is unknown or not installed.
    CheckError
        If the backend does not compute the logits that are stored in the model file for a test film.

    Examples
    --------
    >>> import cxrscore
    >>> clf = cxrscore.load("model.safetensors")  # doctest: +SKIP
    >>> clf.predict("film.png")  # doctest: +SKIP
    {'Atelectasis': 0.31, 'Cardiomegaly': 0.04}
    >>> clf = cxrscore.load("densenet121-res224-all", log=print)  # doctest: +SKIP
    """
    models = _model_paths(source, "source", log, progress)
    # No film is listed and nothing is written: of these options only those on models and computing are used.
    options = ScoreOptions(
        films=Path(),
        output=Path(),
        model=models,
        backend=_named(backend),
        device=device,
        precision=precision,
        batch_size=batch_size,
        workers=default_workers() if workers is None else workers,
        target_prevalence=None if target_prevalence is None else read_target_prevalence(target_prevalence),
    )
    context = prepare_worker(options, FileList(paths=(), run_paths=(), partition=None))
    golden_difference(context)
    return Classifier(context)


def _model_paths(given: StrPath | Sequence[StrPath], name: str, log: Log, progress: Progress) -> tuple[Path, ...]:
    """The model files of an argument: one or several paths or names of public classifiers."""
    _check_callable(progress, "progress")
    _check_callable(log, "log")
    return tuple(model_path(one, log, progress, name=name) for one in one_or_several(given))


class Classifier:
    """A model, or an ensemble, that scores films; made by cxrscore.load.

    All methods take one film or several: a file (PNG, JPEG or DICOM) as str or os.PathLike, an array [H,W] or [H,W,3],
    an array [N,H,W] or [N,H,W,3], or a list of files and arrays. Arrays are uint8 (white is 255), uint16 (white is
    65535) or float (white is 1.0), and black is 0. Films are preprocessed and computed as ``cxrscore score`` does, so
    the numbers are the same.

    It may be used from several threads, which then take turns. Processes that decode files end when the classifier is
    closed or garbage collected.

    Attributes
    ----------
    findings : tuple of str
        The C findings, in the order of the columns of predict_proba.
    backend : str
        Name of the backend that computes.
    framework : str
        The framework with its version, such as "torch 2.13.0".
    device : str
        Where it computes, such as "cpu" or "cuda:0".
    precision : str
        "fp32", "bf16" or "int8".
    precision_note : str
        Why precision="auto" chose it, or that the device emulates it; "" otherwise.
    calibration : str
        A sentence on the probabilities: whether they are calibrated, by what method, on which films, and for which
        prevalence.
    """

    def __init__(self, context: RunContext) -> None:
        self.findings = context.findings
        self.backend = context.backend
        self.framework, self.device = context.computed_by
        self.precision: ScorePrecision = context.precision
        self.precision_note = context.precision_note
        documents = [{"document": file.document} for file in context.files]
        self.calibration = describe_probabilities({"models": documents, "target_prevalence": context.target})
        self._context = context
        named = context.files if context.ensemble is None else (context.ensemble,)
        self._models = tuple(str(file.path) for file in named)
        self._scorers: dict[tuple[str, str | None] | None, Scorer] = {}
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._decoders = _Decoders(context)
        weakref.finalize(self, self._decoders.close)

    def __repr__(self) -> str:
        models = ", ".join(self._models)
        return f"<Classifier {models}: {len(self.findings)} findings, {self.framework} on {self.device}>"

    def __reduce__(self) -> Any:
        raise TypeError("a Classifier cannot be pickled or copied; call cxrscore.load in each process")

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes that decode files; they start again when they are needed.

        While another thread is scoring, they end when it has finished.
        """
        self._decoders.close()

    def predict(self, films: Films) -> dict[str, float] | list[dict[str, float]]:
        """Probabilities by finding; ``calibration`` says whether they are calibrated.

        Parameters
        ----------
        films : film or films
            See Classifier.

        Returns
        -------
        dict, or list of dict
            Of one film a dict; of several a list with a dict for each film, whose values are NaN if the film cannot be
            read.

        Raises
        ------
        InputError
            If a single film cannot be read, or an array is not a film.

        Warns
        -----
        FilmWarning
            If films have a note on how they were read, such as a guessed grey range; ``message`` of predict_proba has
            the notes of each film.

        Examples
        --------
        >>> clf.predict("film.png")  # doctest: +SKIP
        {'Atelectasis': 0.31, 'Cardiomegaly': 0.04}
        >>> clf.predict(["a.png", "b.dcm"])[1]["Atelectasis"]  # doctest: +SKIP
        0.12
        """
        sources, single = as_films(films)
        found = self._probabilities(sources, no_progress)
        if single:
            _require_result(found, sources)
        _warn_of_notes(found, sources)
        rows = [dict(zip(self.findings, row, strict=True)) for row in found.values.tolist()]
        return rows[0] if single else rows

    def predict_proba(self, films: Films, *, progress: Progress = no_progress) -> FilmArray:
        """Probabilities as an array; ``calibration`` says whether they are calibrated.

        Parameters
        ----------
        films : film or films
            See Classifier. One film gives one row.
        progress : callable, optional
            Called as progress("scoring", done, total).

        Returns
        -------
        FilmArray
            float32 [N,C] in 0..1, NaN in the rows of films that cannot be read; ``status`` and ``message`` say why.

        Raises
        ------
        InputError
            If an array is not a film.

        Examples
        --------
        >>> proba = clf.predict_proba(paths)  # doctest: +SKIP
        >>> read = proba.status == cxrscore.Status.OK  # doctest: +SKIP
        >>> roc_auc_score(labels[read], proba[read], average="macro")  # doctest: +SKIP
        0.81
        """
        return self._probabilities(as_films(films)[0], progress)

    def explain(
        self, films: Films, finding: str, *, explainer: str = "grad-cam", cam_layer: str | None = None
    ) -> Floats | FilmArray:
        """Heat maps of one finding.

        Parameters
        ----------
        films : film or films
            See Classifier.
        finding : str
            One of ``findings``.
        explainer : str
            One that ``cxrscore plugins`` lists.
        cam_layer : str, optional
            Layer at which the map is taken; None: the one that is pooled.

        Returns
        -------
        float32 [h,w], or FilmArray [N,h,w]
            The maps as the explainer gives them, unscaled: positive where the film speaks for the finding. They cover
            the preprocessed film. Of one film an array; of several a FilmArray with NaN for films that cannot be read.

        Raises
        ------
        InputError
            If a single film cannot be read, the finding is unknown, or the model cannot give what the explainer needs.

        Examples
        --------
        >>> clf.explain("film.png", "Edema").shape  # doctest: +SKIP
        (12, 12)
        """
        for name, value in (("explainer", explainer), ("cam_layer", cam_layer)):
            if not isinstance(value, str) and not (name == "cam_layer" and value is None):
                raise InputError(f"{name} is {value!r}, expected a name")
        if not isinstance(finding, str) or finding not in self.findings:
            raise InputError(f"the model has no finding {finding!r}; it has {', '.join(self.findings)}")
        column, (sources, single) = self.findings.index(finding), as_films(films)
        scorer = self._scorer((explainer, cam_layer))
        found = self._rows(sources, partial(self._maps, scorer, column), no_progress)
        if single:
            _require_result(found, sources)
            return cast(Floats, found.values[0])
        return found

    def features(self, films: Films, *, progress: Progress = no_progress) -> FilmArray:
        """Features of the last layer before the head, for a classifier or a search of your own.

        Parameters
        ----------
        films : film or films
            See Classifier. One film gives one row.
        progress : callable, optional
            Called as progress("scoring", done, total).

        Returns
        -------
        FilmArray
            float32 [N,K], pooled; NaN in the rows of films that cannot be read.

        Raises
        ------
        InputError
            If an array is not a film, if this is an ensemble, or if the backend gives no features.

        Examples
        --------
        >>> clf.features(paths).shape  # doctest: +SKIP
        (100, 1024)
        """
        if len(self._context.models) > 1:
            raise InputError(
                f"an ensemble of {len(self._context.models)} models has no common features; load one of them"
            )
        model = self._context.models[0]
        if not isinstance(model, FeatureExtractor):
            raise InputError(f"backend {self.backend!r} gives no features in {self._context.options.precision}")
        return self._rows(as_films(films)[0], self._embed, progress)

    def _probabilities(self, sources: Sequence[FilmSource], progress: Progress) -> FilmArray:
        return self._rows(sources, partial(_probabilities, self._scorer(None)), progress)

    def _scorer(self, maps: tuple[str, str | None] | None) -> Scorer:
        """The scorer without heat maps, or with an explainer and a layer for maps of all findings."""
        with self._lock:
            if maps not in self._scorers:
                self._scorers[maps] = Scorer(_with_maps(self._context, maps))
            return self._scorers[maps]

    def _rows(self, sources: Sequence[FilmSource], compute: _Compute, progress: Progress) -> FilmArray:
        """What ``compute`` gives for the films, batch by batch as score does it, in the order of the sources."""
        if os.getpid() != self._process:
            raise InputError(
                "the classifier was loaded before this process was forked; call cxrscore.load in each process"
            )
        _check_callable(progress, "progress")
        size = self._context.options.batch_size
        status, message = np.zeros(len(sources), np.uint8), [""] * len(sources)
        parts: list[tuple[list[int], Floats]] = []
        with closing(self._decoders.stream(sources)) as stream:
            readable = _readable(stream, status, message)
            while batch := list(islice(readable, size)):
                rows = [row for row, _ in batch]
                with self._lock:
                    values, failed = compute([film for _, film in batch])
                for row, why in zip(rows, failed, strict=True):
                    if why:
                        status[row], message[row] = Status.MODEL_FAILED, why
                parts.append((rows, values))
                progress("scoring", rows[-1] + 1, len(sources))
        shape = parts[0][1].shape[1:] if parts else self._shape(compute)
        values = np.full((len(sources), *shape), np.nan, np.float32)
        for rows, part in parts:
            values[rows] = part
        return FilmArray(values, status, tuple(message))

    def _shape(self, compute: _Compute) -> tuple[int, ...]:
        """Shape of a row if no film can be read: that of a film of noise."""
        noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
        first, *more = self._context.squares
        with self._lock:
            values, _ = compute([load_array(noise, first, also=more)])
        return values.shape[1:]

    def _maps(self, scorer: Scorer, column: int, batch: Sequence[LoadedFilm]) -> tuple[Floats, Sequence[str]]:
        scores = scorer(scorer.prepare(batch))
        if not scores.maps.shape[1]:
            raise InputError(f"backend {self.backend!r} gives no activations for heat maps; use occlusion")
        place = np.argmax(scores.findings == column, axis=1)
        return _nan_where_failed(scores.maps[np.arange(len(place)), place].astype(np.float32), scores)

    def _embed(self, batch: Sequence[LoadedFilm]) -> tuple[Floats, Sequence[str]]:
        squares = [film.pixels for film in batch if film.pixels is not None]
        model = cast(FeatureExtractor, self._context.models[0])
        size = len(batch) if takes_any_batch_size(self._context.models[0]) else self._context.options.batch_size
        found = model.embed(float_batch(squares, size))[: len(batch)]
        finite = finite_rows(found)
        why = f"backend {self.backend!r} returned features that are not finite"
        return np.where(finite[:, None], found, np.float32(np.nan)), ["" if one else why for one in finite]


class _Decoders:
    """Loads files in worker processes, and arrays in this process. The workers are reused by the next call."""

    def __init__(self, context: RunContext) -> None:
        self._first, *self._more = context.squares
        self._workers = context.options.workers
        self._pool: DecoderPool | None = None
        self._streams, self._closing = 0, False
        self._process = os.getpid()
        self._lock = threading.Lock()

    def stream(self, sources: Sequence[FilmSource]) -> Generator[LoadedFilm]:
        """The films, in order; some are loaded ahead of their use."""
        workers = max(1, min(self._workers, len(sources)))
        with self._lock:
            self._streams += 1
        threads = ThreadPoolExecutor(workers, "films")
        try:
            with closing(load_ahead(partial(self._begin, threads), sources, max(32, 2 * workers))) as stream:
                yield from stream
        finally:
            threads.shutdown(cancel_futures=True)
            with self._lock:
                self._streams -= 1
            self._close_unused()

    def _begin(self, threads: ThreadPoolExecutor, source: FilmSource) -> Future[LoadedFilm]:
        if isinstance(source, np.ndarray):
            return threads.submit(load_array, source, self._first, also=self._more)
        with self._lock:
            if self._pool is None:
                self._pool = DecoderPool(self._workers, self._first, also=self._more)
            pool = self._pool
        return pool.submit(source)

    def close(self) -> None:
        """Ends the processes, or lets the last stream end them; does nothing in a fork, which does not own them."""
        if os.getpid() == self._process:
            with self._lock:
                self._closing = True
            self._close_unused()

    def _close_unused(self) -> None:
        """Ends the processes if that was asked for and no stream uses them."""
        with self._lock:
            if self._streams or not self._closing:
                return
            pool, self._pool, self._closing = self._pool, None, False
        if pool is not None:
            pool.close()


def _readable(
    stream: Iterable[LoadedFilm], status: NDArray[np.uint8], message: list[str]
) -> Iterator[tuple[int, LoadedFilm]]:
    """The films that have pixels, with their rows; records the status and message of all films."""
    for row, film in enumerate(stream):
        status[row], message[row] = film.film.status, film.film.message
        if film.pixels is not None:
            yield row, film


def _probabilities(scorer: Scorer, batch: Sequence[LoadedFilm]) -> tuple[Floats, Sequence[str]]:
    scores = scorer(scorer.prepare(batch))
    return _nan_where_failed(scores.prob, scores)


def _nan_where_failed(values: Floats, scores: BatchScores) -> tuple[Floats, Sequence[str]]:
    values = values.copy()
    values[~scores.scored] = np.nan
    return values, scores.failed


def _require_result(found: FilmArray, sources: Sequence[FilmSource]) -> None:
    """InputError unless the only film has a result."""
    if found.status[0] != Status.OK:
        name = "the array" if isinstance(sources[0], np.ndarray) else sources[0]
        raise InputError(f"{name} has no result: {found.message[0]} ({Status(found.status[0]).name})")


def _warn_of_notes(found: FilmArray, sources: Sequence[FilmSource]) -> None:
    """A FilmWarning if films have notes on how they were read that a user must know."""
    names = ("an array" if isinstance(one, np.ndarray) else str(one) for one in sources)
    rows = zip(names, found.message, found.status, strict=True)
    notes = count_notes((name, message) for name, message, status in rows if status == Status.OK)
    if notes.kinds:
        text = f"{notes.sentence()}, such as {notes.kinds[0].example}; predict_proba(films).message has them"
        warnings.warn(text, FilmWarning, stacklevel=3)


def _with_maps(context: RunContext, maps: tuple[str, str | None] | None) -> RunContext:
    explainer, layer = maps or ("grad-cam", None)
    number = len(context.findings) if maps else 0
    return replace(context, options=replace(context.options, explainer=explainer, cam_layer=layer, heatmaps=number))


def train(
    films: StrPath = "films",
    *,
    labels: StrPath | None = None,
    output: StrPath = "model.safetensors",
    backend: str | None = None,
    recipe: StrPath | None = None,
    progress: Progress = no_progress,
    log: Log = no_log,
    **options: Any,
) -> TrainResult:
    """Trains a model and writes it; the same as ``cxrscore train``.

    Parameters
    ----------
    films : path
        Folder of films.
    labels : path, optional
        Label table; None: labels.csv in or beside the folder.
    output : path
        Model file to write. The folder beside it, such as model.run, gets the history of the run.
    backend : str, optional
        Backend that trains; None: the first installed one that can.
    recipe : str or path, optional
        Name of a recipe, or a TOML file. Options that are passed here come before those of the recipe.
    progress : callable, optional
        Called as progress(step, done, total).
    log : callable, optional
        Called with each line that the command would print.
    **options
        Further options of ``cxrscore train``, with underscores: epochs=20, batch_size=8, ... ``weights`` is
        "imagenet", "none", a name that ``cxrscore weights`` lists, or a file. ``mlflow`` is a folder or the URI of a
        tracking server that gets the figures of the finished run.

    Returns
    -------
    TrainResult
        Its ``output`` is the model file, ``macro_auc`` and ``test_auc`` are of the validation and test films.

    Raises
    ------
    InputError
        If films, labels or options cannot be used.
    LeakError
        If a patient or a film is in more than one split.
    BackendUnavailableError
        If the backend is unknown or not installed.
    WriteError
        If the model cannot be written, or the MLflow store cannot be used; then nothing is trained.

    Warns
    -----
    TrackingWarning
        If the model is written, but its run could not be logged to MLflow.

    Notes
    -----
    After an interrupt, the same call with ``resume=True`` continues from the last finished epoch.

    Examples
    --------
    >>> result = cxrscore.train("films", labels="labels.csv", backend="keras", epochs=20)  # doctest: +SKIP
    >>> result.test_auc  # doctest: +SKIP
    0.78
    """
    from cxrscore.models.public_weights import training_defaults
    from cxrscore.training import ProcessRank, TrainOptions, train_model

    if not isinstance(recipe, str | os.PathLike | None):
        raise InputError(f"recipe is of type {type(recipe).__name__}, expected the name of a recipe or a path")
    _check_callable(progress, "progress")
    _check_callable(log, "log")
    file = None if recipe is None else find_recipe(os.fspath(recipe))
    given: dict[str, Any] = {**({} if file is None else read_recipe(file)), **options}
    _check_names("train", given, [field.name for field in fields(TrainOptions)])
    place = ProcessRank.from_environment(os.environ)
    given = {**training_defaults(given.get("weights", TrainOptions.weights)), **given}
    architecture = given.get("architecture", TrainOptions.architecture)
    named = _named(backend) or _named(given.pop("backend", None))
    chosen = plugins.training_backend(named, log, architecture=architecture, parallel=place.world_size > 1)
    given.setdefault("size", plugins.film_size(architecture))
    given = {**given, "backend": chosen, "recipe": file, "films": films, "labels": labels, "output": output}
    result = train_model(TrainOptions(**given), progress, log, place=place)
    if given.get("mlflow") is not None and result.mlflow_error:
        warnings.warn(f"{result.mlflow_error}; {result.output} is written", TrackingWarning, stacklevel=2)
    return result


def score(
    films: Location,
    output: Location,
    *,
    model: StrPath | Sequence[StrPath] = "model.safetensors",
    labels: Location | None = None,
    backend: str | None = None,
    progress: Progress = no_progress,
    log: Log = no_log,
    **options: Any,
) -> ScoreResult:
    """Scores every film below a folder into one HDF5 file; the same as ``cxrscore score``.

    Parameters
    ----------
    films : path or URL
        Folder of films.
    output : path or URL
        Scores file to write. The same call resumes a run that was stopped.
    model : path or name, or sequence of these
        Model file or ensemble file, or the name of a public classifier that ``cxrscore weights`` lists; with several
        the scores are means over the models.
    labels : path or URL, optional
        Label table to join; None: labels.csv in or beside the folder, if there is one.
    backend : str, optional
        Backend that computes; None: the fastest installed one that can run the models.
    progress : callable, optional
        Called as progress("scoring", done, total).
    log : callable, optional
        Called with size, licence and source before a public classifier is downloaded.
    **options
        Further options of ``cxrscore score``, with underscores: batch_size=16, precision="bf16", ...

    Returns
    -------
    ScoreResult
        Its ``failed`` names each film that could not be scored, with the reason. Open the file with
        cxrscore.open_scores.

    Raises
    ------
    InputError
        If films, model or options cannot be used, or if the output is of another run.
    BackendUnavailableError
        If the backend is unknown or not installed.
    WriteError
        If the file cannot be written.

    Examples
    --------
    >>> result = cxrscore.score("films", "out.h5")  # doctest: +SKIP
    >>> result.scored, len(result.failed)  # doctest: +SKIP
    (440, 2)
    """
    given = {**options, "films": films, "output": output, "labels": labels, "backend": _named(backend)}
    _check_names("score", given, [field.name for field in fields(ScoreOptions)])
    given["model"] = _model_paths(model, "model", log, progress)
    return score_films(ScoreOptions(**given), progress)


def report(
    scores: Location | NamedScores | Sequence[Location | NamedScores],
    output: StrPath | None = None,
    *,
    labels: StrPath | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Writes one self-contained HTML page about scores; the same as ``cxrscore report``.

    Parameters
    ----------
    scores : path or URL, or a sequence of these
        Scores files of ``cxrscore score``, or CSV tables of scores. The page is about the first; the others are
        compared with it.
    output : path, optional
        Page to write; None: the path of the first scores file with the suffix .html, in the current folder for a URL.
    labels : path, optional
        Label table that replaces the labels in the scores files.
    **options
        How that table is read: film_column, patient_column, uncertain, blank and allow_unmatched; see ScoreOptions.
        Further options of ``cxrscore report``, with underscores: resamples=0, figures="figures", ...

    Returns
    -------
    dict
        The numbers of the report, ready for JSON; "output" is the page, "pdf" the PDF or None.

    Raises
    ------
    InputError
        If scores, labels or options cannot be used, or if there is no browser for the PDF (pdf=...).
    WriteError
        If the page or the PDF cannot be written.

    Examples
    --------
    >>> cxrscore.report("out.h5")["macro_auc"]  # doctest: +SKIP
    0.78
    """
    from cxrscore.reporting import (
        LABEL_RULES,
        NamedScores,
        default_page,
        open_named_scores,
        split_by_columns,
        write_report,
    )

    arguments = inspect.signature(write_report).parameters.keys() - {"scores", "source", "others", "inputs"}
    _check_names("report", options, sorted({*arguments, *LABEL_RULES}))
    several: list[Any] = list(one_or_several(scores))
    if not several:
        raise InputError("no scores are named, expected a scores file or several")
    named, options["findings"] = split_by_columns(options.get("findings", ()))
    rules = {name: options.pop(name) for name in LABEL_RULES if name != "findings" and name in options}
    first, *others = (
        one if isinstance(one, NamedScores) else open_named_scores(one, labels, findings=named, **rules)
        for one in several
    )
    target = default_page(several[0]) if output is None else local_path(output, "output")
    return write_report(first.scores, target, source=first.name, others=others, inputs=first.files, **options)


def _named(backend: str | None) -> str | None:
    """None for the fastest backend."""
    return None if backend == "auto" else backend


def _check_callable(value: Any, name: str) -> None:
    if not callable(value):
        raise TypeError(f"{name} is {value!r}, expected a function; leave it out for none")


_OTHER_NAMES = {"shard": "partition", "finding": "findings"}
"""Options of the commands that are called otherwise in Python."""


def _check_names(function: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    """TypeError, as Python raises it, for an option that does not exist, with the name that was probably meant."""
    for name in given:
        if name not in known:
            suggestion = (
                [new] if (new := _OTHER_NAMES.get(name)) in known else difflib.get_close_matches(name, known, 1)
            )
            hint = f"; did you mean {suggestion[0]!r}?" if suggestion else ""
            raise TypeError(f"{function}() got an unexpected option {name!r}{hint}")
