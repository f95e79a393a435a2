"""A folder of films by plain Keras: keras.applications' DenseNet121, a PyDataset with two workers, predict."""

from __future__ import annotations

import keras
import numpy as np
from turns import film_paths, job, serve

given = job()
SIDE = (given["size"], given["size"])


def network() -> keras.Model:
    base = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(*SIDE, 3), pooling="avg")
    outputs = keras.layers.Dense(given["findings"], activation="sigmoid", name="head")(base.output)
    model = keras.Model(base.input, outputs)
    with np.load(given["keras"]) as tensors:
        for layer in model.layers:
            for variable in layer.weights:
                variable.assign(tensors[f"{layer.name}/{variable.name}"])
    return model


class Films(keras.utils.PyDataset):
    def __init__(self, paths: list[str]) -> None:
        super().__init__(workers=2, use_multiprocessing=False)
        self.paths = paths

    def __len__(self) -> int:
        return -(-len(self.paths) // given["batch_size"])

    def __getitem__(self, index: int) -> np.ndarray:
        paths = self.paths[index * given["batch_size"] : (index + 1) * given["batch_size"]]
        films = [keras.utils.load_img(path, target_size=SIDE, interpolation="bilinear") for path in paths]
        batch = np.stack([keras.utils.img_to_array(film) for film in films])
        return keras.applications.densenet.preprocess_input(batch)


def score() -> list[np.ndarray]:
    return [model.predict(Films(film_paths(given["films"])), verbose=0)]


model = network()
serve({"score": score}, f"keras {keras.__version__} on {keras.backend.backend()}", answer=np.concatenate)
