"""80 epochs with a frozen base: `cxrscore train` against a plain Keras fit of the same experiment, side by side.

    python benchmarks/bench_epochs.py FILMS --labels CSV

The plain one is what a notebook does: keras.applications' network with its base frozen, pooling and a dense layer, fed
film by film from the files, the validation films after every epoch and the test films once at the end, as ours has
them. A few of its epochs are timed, and the median is multiplied: so the ratio is extrapolated. Ours runs whole, from
empty caches, in a process of its own, decoding, embedding, all epochs, tests and the model file included; the time to
import counts for ours only. Both use Keras on the same engine, unless --backend or --feature-backend name another. With
--augmentations ours augments, K copies of each film, cycled by epoch; the plain fit never does, which would only cost
it more.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

EPOCHS = 80


def plain(options: argparse.Namespace) -> tuple[list[float], float]:
    """Seconds of each epoch of the plain fit, validation included, and of the test at its end."""
    import keras

    from cxrscore.models.imagenet import base_weights

    class Films(keras.utils.PyDataset):
        def __init__(self, films: list[Path], truth: np.ndarray) -> None:
            super().__init__()
            self.films, self.truth = films, truth

        def __len__(self) -> int:
            return -(-len(self.films) // options.batch_size)

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            rows = slice(index * options.batch_size, (index + 1) * options.batch_size)
            side = (options.size, options.size)
            batch = [
                keras.utils.img_to_array(keras.utils.load_img(film, target_size=side, interpolation="bilinear"))
                for film in self.films[rows]
            ]
            return keras.applications.densenet.preprocess_input(np.stack(batch)), self.truth[rows]

    train, valid, test = (Films(*part) for part in labelled(options))
    base = keras.applications.DenseNet121(
        include_top=False, weights=None, input_shape=(options.size, options.size, 3), pooling="avg"
    )
    tensors = base_weights("imagenet", "densenet121").tensors
    for layer in base.layers:
        for variable in layer.weights:
            variable.assign(tensors[f"{layer.name}/{variable.name}"].astype(np.float32))
    base.trainable = False
    model = keras.Sequential([base, keras.layers.Dense(train.truth.shape[1], activation="sigmoid")])
    model.compile(optimizer="adam", loss="binary_crossentropy")
    seconds = []
    for _ in range(options.rounds + 1):
        begun = time.perf_counter()
        model.fit(train, validation_data=valid, epochs=1, verbose=0)
        seconds.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    model.predict(test, verbose=0)
    return seconds[1:], time.perf_counter() - begun  # the first epoch traces the graph


def labelled(options: argparse.Namespace) -> list[tuple[list[Path], np.ndarray]]:
    """The films that cxrscore would train on, validate by and test on with seed 0, and their labels."""
    from cxrscore import labels as lab
    from cxrscore import plugins
    from cxrscore.images import require_films

    found = require_films(options.films)
    joined, _ = lab.read_joined_labels(options.labels, plugins.datasets(), found.paths)
    split = lab.split_by_patient(joined.patients, joined.labels, seed=0)
    return [
        ([options.films / found.paths[row] for row in rows], joined.labels[list(rows)]) for _, rows in split.parts()
    ]


def ours(options: argparse.Namespace, augmentations: int) -> float:
    """Seconds of `cxrscore train`, from empty caches but for the ImageNet weights."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = folder / "cache"
        cache.mkdir()
        for weights in source_cache().glob("densenet121*"):
            shutil.copyfile(weights, cache / weights.name)
        command = [
            *(sys.executable, "-m", "cxrscore", "train", str(options.films), "--labels", str(options.labels)),
            *("--backend", options.backend, "--size", str(options.size), "--batch-size", str(options.batch_size)),
            *(
                "--solver",
                "adam",
                "--epochs",
                str(EPOCHS),
                "--patience",
                str(EPOCHS),
                "--augmentations",
                str(augmentations),
            ),
            *("-o", str(folder / "model.safetensors"), "--quiet"),
        ]
        if options.feature_backend:
            command += ["--feature-backend", options.feature_backend]
        begun = time.perf_counter()
        subprocess.run(command, check=True, env={**os.environ, "CXRSCORE_CACHE": str(cache)})
        return time.perf_counter() - begun


def source_cache() -> Path:
    from cxrscore.io.entries import cache_folder

    return cache_folder()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--backend", default="keras")
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--augmentations", default="0,4", help="with commas between")
    parser.add_argument("--rounds", type=int, default=3, help="epochs of the plain fit that are timed")
    parser.add_argument("--feature-backend", help="what runs the frozen base; the backend that trains, if left out")
    options = parser.parse_args()
    epochs, test = plain(options)
    whole = EPOCHS * statistics.median(epochs) + test
    told = f"epochs of {[round(s, 1) for s in epochs]} s with validation, {test:.1f} s for the test films"
    sys.stdout.write(f"plain Keras fit: {told}; {EPOCHS} epochs {whole:.0f} s, extrapolated\n")
    sys.stdout.flush()
    for augmentations in map(int, options.augmentations.split(",")):
        seconds = ours(options, augmentations)
        sys.stdout.write(
            f"cxrscore train, {augmentations} augmentations: {seconds:.0f} s, {whole / seconds:.1f} times as fast\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
