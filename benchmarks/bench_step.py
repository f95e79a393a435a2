"""Seconds of a training step: ours against plain torch and plain Keras code, side by side in one run.

    python benchmarks/bench_step.py

All train the same network, DenseNet121 with 14 findings, on the same batch in float32: all layers, batch normalisation
on its stored statistics, Adam. Plain is what a notebook has: the network out of torch.nn in channels_last with
torch.optim.Adam and BCEWithLogitsLoss; keras.applications' with train_on_batch. "last block" is our step of the last
block on what the frozen layers made of the films once.

A step of the whole network holds gigabytes, so each contender has the machine to itself, in a process of its own; they
take turns by rounds. Printed are the median of all steps but the first of each process, the largest resident memory,
the losses of the first two steps, by which one sees that all do the same, and the ratio to the plain code of the same
framework, or of the last block to our whole network.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

FINDINGS = tuple(f"finding {number}" for number in range(14))
PLAIN = {
    "torch": "plain torch",
    "torch last block": "torch",
    "torch bf16": "torch",
    "keras": "plain keras",
    "keras last block": "keras",
}
"""Contenders of ours, and what each is measured by."""
BLOCKS = (6, 12, 24, 16)
RATE = 1e-5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--batch-sizes", default="16,4", help="with commas between")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="steps a process and round, after the first")
    parser.add_argument("--contenders", default="plain torch,torch,torch last block,plain keras,keras,keras last block")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(**json.loads(options.child))
        return
    for films in map(int, options.batch_sizes.split(",")):
        table(films, options)


def table(films: int, options: argparse.Namespace) -> None:
    names = options.contenders.split(",")
    found = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            found[name].append(measured(name, films, options))
    middle = {name: statistics.median(s for each in rounds for s in each["seconds"]) for name, rounds in found.items()}
    sys.stdout.write(f"{films} films of {options.size} pixels a step\n")
    for name, seconds in middle.items():
        memory = max(each["mib"] for each in found[name])
        losses = found[name][0]["losses"]
        line = f"  {name:<18} {seconds:7.3f} s  {memory:6.0f} MiB  losses {losses[0]:.5f}, {losses[1]:.5f}"
        by = PLAIN.get(name)
        sys.stdout.write(line + (f"  {seconds / middle[by]:.2f} of {by}\n" if by in middle else "\n"))
    sys.stdout.flush()


def measured(name: str, films: int, options: argparse.Namespace) -> dict:
    job = json.dumps({"name": name, "films": films, "size": options.size, "steps": options.steps})
    done = subprocess.run([sys.executable, __file__, "--child", job], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def child(name: str, films: int, size: int, steps: int) -> None:
    rng = np.random.default_rng(0)
    inputs, labels = rng.random((films, size, size), np.float32), rng.integers(0, 2, (films, 14)).astype(np.float32)
    build = {"plain torch": plain_torch, "plain keras": plain_keras}.get(name)
    step = build(size, inputs, labels) if build else ours(name, size, inputs, labels)
    losses, seconds = [], []
    for _ in range(steps + 1):
        begun = time.perf_counter()
        losses.append(float(step()))
        seconds.append(time.perf_counter() - begun)
    told = {"seconds": seconds[1:], "losses": losses[:2]}
    told["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps(told))


def tensors(size: int) -> dict[str, np.ndarray]:
    """The same first tensors for all."""
    from cxrscore.networks.tensors import initial_tensors

    return initial_tensors(spec_of(size), 0)


def spec_of(size: int, trainable: str = "all"):
    from cxrscore.contract import ModelSpec

    return ModelSpec(architecture="densenet121", findings=FINDINGS, size=size, trainable=trainable)


def ours(name: str, size: int, inputs: np.ndarray, labels: np.ndarray):
    """A step of ours, from films to the updated tensors; of the last block, from what enters it."""
    from cxrscore.contract import Batch, Optimiser
    from cxrscore.plugins import get_backend, get_loss

    framework, _, what = name.partition(" ")
    last, precision = what == "last block", "bf16" if what == "bf16" else "fp32"
    spec = spec_of(size, "last-block" if last else "all")
    model = get_backend(framework).build(spec, tensors(size), device="cpu", precision=precision)
    learner = model.tail if last else model
    batch = Batch(inputs=model.stem(inputs) if last else inputs, labels=labels)
    loss, optimiser = get_loss("bce"), Optimiser(learning_rate=RATE)
    return lambda: learner.fit_epoch([batch], loss, optimiser)


def plain_torch(size: int, inputs: np.ndarray, labels: np.ndarray):
    import torch
    from torch import nn

    class Layer(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.BatchNorm2d(channels, eps=1.001e-5), nn.BatchNorm2d(128, eps=1.001e-5)
            self.conv1 = nn.Conv2d(channels, 128, 1, bias=False)
            self.conv2 = nn.Conv2d(128, 32, 3, padding=1, bias=False)

        def forward(self, x):
            new = self.conv1(torch.relu(self.norm1(x)))
            return torch.cat([x, self.conv2(torch.relu(self.norm2(new)))], 1)

    def norm_relu(channels: int) -> list[nn.Module]:
        return [nn.BatchNorm2d(channels, eps=1.001e-5), nn.ReLU(inplace=True)]

    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), *norm_relu(64)]
    layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    channels = 64
    for stage, blocks in enumerate(BLOCKS):
        layers += [Layer(channels + 32 * block) for block in range(blocks)]
        channels += 32 * blocks
        layers += norm_relu(channels)
        if stage < 3:
            layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
            channels //= 2
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, len(FINDINGS)))
    fill(network, tensors(size))
    network = network.to(memory_format=torch.channels_last).eval()  # batch normalisation on its stored statistics
    adam, loss = torch.optim.Adam(network.parameters(), lr=RATE), nn.BCEWithLogitsLoss()
    mean, sd = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def step() -> float:
        films = ((torch.from_numpy(inputs)[..., None] - mean) / sd).permute(0, 3, 1, 2)
        adam.zero_grad()
        value = loss(network(films), torch.from_numpy(labels))
        value.backward()
        adam.step()
        return value.item() * len(FINDINGS)  # ours adds up the findings

    return step


def fill(network, values: dict[str, np.ndarray]) -> None:
    """The tensors, in the order of the network, which is that of the names."""
    import torch
    from cxrscore_torch.nets import from_neutral

    own = [tensor for module in ordered(network) for tensor in module]
    wanted = [name for name in values if not name.endswith(("moving_mean", "moving_variance"))]
    assert len(own) == len(wanted), (len(own), len(wanted))
    for name, tensor in zip(wanted, own, strict=True):
        with torch.no_grad():
            tensor.copy_(from_neutral(torch.from_numpy(values[name]), name))


def ordered(network):
    """Parameters of each module, a dense layer's modules in the order in which films pass them."""
    for module in network:
        if hasattr(module, "conv2"):
            yield [*module.norm1.parameters(), *module.conv1.parameters()]
            yield [*module.norm2.parameters(), *module.conv2.parameters()]
        else:
            yield [*module.parameters()]


def plain_keras(size: int, inputs: np.ndarray, labels: np.ndarray):
    import keras

    base = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg")
    values = tensors(size)
    for layer in base.layers:
        for variable in layer.weights:
            variable.assign(values[f"{layer.name}/{variable.name}"])
    dense = keras.layers.Dense(len(FINDINGS))
    dense.build((None, BLOCKS[-1] * 64))
    dense.set_weights([values["head/kernel"], values["head/bias"]])

    class Classifier(keras.Model):  # a functional model would hand training=True down to the base
        def __init__(self) -> None:
            super().__init__()
            self.base, self.dense = base, dense

        def call(self, films):
            return self.dense(self.base(films, training=False))

    model = Classifier()
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=loss)
    mean, sd = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)

    def step() -> float:
        model.reset_metrics()
        value = model.train_on_batch((inputs[..., None] - mean) / sd, labels)
        return float(value) * len(FINDINGS)

    return step


if __name__ == "__main__":
    main()
