"""Times the U-Net of the DDPM beside the same network in PyTorch, on the CPU; writes results/torch_peer.json.

pip install torch==2.13.0  # no requirement of the project: into an environment of its own, together with trilemma
python benchmarks/torch_peer.py

Training is a step of Adam on the loss of `DDPM`, and of the average of the weights, on uint8 images in memory. A pass
is the network alone. Every variant runs in a process of its own, all of them in turns; medians count. The machine must
do nothing else: PyTorch's threads wait for one another, and lose more than TensorFlow's to a second program. First the
networks in PyTorch get our weights, drawn at random, and must put out what ours does.
"""

import copy
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

NUM_PARAMETERS = 1_293_185
WIDTHS, NUM_HEADS, NUM_GROUPS, EPSILON = (64, 96), 4, 8, 1e-3
TRAINING_BATCH, PASS_BATCH = 64, 100
ROUNDS = 2
SECONDS = 8  # of every measurement, at least
VARIANTS = ("ours", "eager", "channels_last", "compiled", "compiled, channels_last")
TOLERANCE = 1e-4


def rate(run, batch_size):
    """Images per second of warm calls of run()."""
    for _ in range(3):
        run()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        run()
        count += 1
    return count * batch_size / (time.perf_counter() - start)


def training_images():
    """Random images in 8 bits, as many as 20 batches."""
    return np.random.default_rng(0).integers(256, size=(20 * TRAINING_BATCH, 28, 28, 1), dtype="uint8")


def our_model():
    """The model of the recipe, ready for `fit`."""
    from trilemma.training import recipes
    from trilemma.training.train import prepare

    model = prepare(recipes.get_recipe("ddpm_mnist"), 10_000)
    count = sum(np.prod(weight.shape) for weight in model.network.trainable_weights)
    if count != NUM_PARAMETERS:
        raise ValueError(f"our network has {count} parameters; expected {NUM_PARAMETERS}.")
    return model


def export(file):
    """Writes random weights, an output of our network with them, and the schedule."""
    model, random = our_model(), np.random.default_rng(0)
    network, arrays = model.network, {}
    network.set_weights([value + 0.05 * random.standard_normal(value.shape) for value in network.get_weights()])
    # Layers of one kind follow one another as they were built, like those of `build_torch_unet`.
    layers = [layer for layer in network.layers if layer.weights]
    for layer in sorted(layers, key=lambda layer: (layer.name == "unfold", len(layer.name), layer.name)):
        kind = type(layer).__name__
        number = len({key.split("/")[1] for key in arrays if key.startswith(f"{kind}/")})
        for place, weight in enumerate(layer.weights):
            arrays[f"{kind}/{number:02d}/{place}"] = weight.numpy()
    images = random.standard_normal((PASS_BATCH, 28, 28, 1)).astype("float32")
    timesteps = random.integers(1, model.schedule.num_timesteps + 1, PASS_BATCH)
    outputs = network([images, timesteps], training=False).numpy()
    rates = dict(signal_rates=model.schedule.signal_rates, noise_rates=model.schedule.noise_rates)
    np.savez(file, images=images, timesteps=timesteps, outputs=outputs, **rates, **arrays)


def measure_ours():
    """Rates of our network: steps of `fit`, and a compiled pass."""
    import tensorflow as tf

    from trilemma.data import make_dataset

    model = our_model()
    batches = make_dataset(training_images(), batch_size=TRAINING_BATCH)
    predict = tf.function(lambda images, timesteps: model.network([images, timesteps], training=False))
    images, timesteps = tf.random.normal((PASS_BATCH, 28, 28, 1)), tf.fill((PASS_BATCH,), 100)
    model.fit(batches, verbose=0)
    start = time.perf_counter()
    model.fit(batches, verbose=0)
    epochs = 1 + int(SECONDS / (time.perf_counter() - start))
    start = time.perf_counter()
    model.fit(batches, epochs=epochs, verbose=0)
    training = epochs * len(batches.images) / (time.perf_counter() - start)
    passes = rate(lambda: predict(images, timesteps).numpy(), 1)
    return {"training_images_per_second": training, "passes_per_second": passes}


def build_torch_unet():
    """The network of `unet.build_unet` in PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional

    def normalisation(width):
        return nn.GroupNorm(NUM_GROUPS, width, EPSILON)

    class Residual(nn.Module):
        def __init__(self, size, width):
            super().__init__()
            self.shortcut = nn.Identity() if size == width else nn.Conv2d(size, width, 1)
            self.first_norm, self.first = normalisation(size), nn.Conv2d(size, width, 3, padding=1)
            self.time = nn.Linear(4 * WIDTHS[0], width)
            self.second_norm, self.second = normalisation(width), nn.Conv2d(width, width, 3, padding=1)

        def forward(self, x, time):
            y = self.first(functional.silu(self.first_norm(x))) + self.time(time)[:, :, None, None]
            return self.shortcut(x) + self.second(functional.silu(self.second_norm(y)))

    class Attention(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.norm = normalisation(width)
            self.inputs, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x):
            batch, width, rows, columns = x.shape
            tokens = self.norm(x).flatten(2).transpose(1, 2)
            heads = self.inputs(tokens).view(batch, rows * columns, 3, NUM_HEADS, -1).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
            return x + self.output(mixed).transpose(1, 2).view(batch, width, rows, columns)

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            fine, coarse = WIDTHS
            exponents = torch.arange(fine // 2) / (fine // 2 - 1)
            self.register_buffer("frequencies", torch.exp(-np.log(10_000.0) * exponents))
            self.time = nn.Sequential(nn.Linear(fine, 4 * fine), nn.SiLU(), nn.Linear(4 * fine, 4 * fine), nn.SiLU())
            self.fold = nn.Conv2d(1, fine, 2, stride=2)
            self.down_fine, self.down = Residual(fine, fine), nn.Conv2d(fine, coarse, 3, stride=2)
            self.down_coarse = Residual(coarse, coarse)
            self.before, self.attention = Residual(coarse, coarse), Attention(coarse)
            self.after = Residual(coarse, coarse)
            self.up_coarse, self.up = Residual(2 * coarse, coarse), nn.ConvTranspose2d(coarse, fine, 2, stride=2)
            self.up_fine = Residual(2 * fine, fine)
            self.norm, self.unfold = normalisation(fine), nn.ConvTranspose2d(fine, 1, 2, stride=2)

        def forward(self, images, timesteps):
            angles = timesteps[:, None] * self.frequencies
            time = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
            fine = self.down_fine(self.fold(images), time)
            # TensorFlow pads an even side on the right alone.
            coarse = self.down_coarse(self.down(functional.pad(fine, (0, 1, 0, 1))), time)
            x = self.after(self.attention(self.before(coarse, time)), time)
            x = self.up(self.up_coarse(torch.cat([x, coarse], dim=1), time))
            x = self.up_fine(torch.cat([x, fine], dim=1), time)
            return self.unfold(functional.silu(self.norm(x)))

    return UNet()


def load_weights(network, arrays):
    """Copies exported weights into the network in PyTorch."""
    import torch
    from torch import nn

    def layers(kind):
        keys = sorted(key for key in arrays if key.startswith(f"{kind}/"))
        return [[arrays[key] for key in layer] for _, layer in itertools.groupby(keys, lambda key: key[:-1])]

    attention, pairs = network.attention, []
    for kind, torch_kind, order in (
        ("Conv2D", nn.Conv2d, (3, 2, 0, 1)),
        ("Conv2DTranspose", nn.ConvTranspose2d, (3, 2, 0, 1)),
        ("Dense", nn.Linear, (1, 0)),
        ("GroupNormalization", nn.GroupNorm, (0,)),
    ):
        modules = [module for module in network.modules() if isinstance(module, torch_kind)]
        modules = [module for module in modules if module not in (attention.inputs, attention.output)]
        for (weight, bias), module in zip(layers(kind), modules, strict=True):
            pairs += [(module.weight, weight.transpose(order)), (module.bias, bias)]
    # Query, key, value and output, of each its weight and its bias; the heads lie one behind the other.
    (values,) = layers("MultiHeadAttention")
    width = WIDTHS[-1]
    pairs += [
        (attention.inputs.weight, np.concatenate([each.reshape(width, width).T for each in values[0:6:2]])),
        (attention.inputs.bias, np.concatenate([each.reshape(width) for each in values[1:6:2]])),
        (attention.output.weight, values[6].reshape(width, width).T),
        (attention.output.bias, values[7]),
    ]
    with torch.no_grad():
        for parameter, value in pairs:
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def measure_torch(variant, file):
    """Rates of a variant in PyTorch, after it has put out what ours does."""
    import torch

    arrays = dict(np.load(file))
    network = build_torch_unet()
    count = sum(parameter.numel() for parameter in network.parameters())
    if count != NUM_PARAMETERS:
        raise ValueError(f"the network in PyTorch has {count} parameters; expected {NUM_PARAMETERS}.")
    load_weights(network, arrays)
    layout = torch.channels_last if "channels_last" in variant else torch.contiguous_format
    network = network.to(memory_format=layout)
    average = copy.deepcopy(network).requires_grad_(False)
    predict = torch.compile(average) if "compiled" in variant else average
    images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    timesteps = torch.from_numpy(arrays["timesteps"])
    with torch.inference_mode():
        outputs = predict(images, timesteps).permute(0, 2, 3, 1).numpy()
        difference = float(np.abs(outputs - arrays["outputs"]).max())
        if difference > TOLERANCE:
            raise ValueError(f"{variant} differs by {difference} from our network.")
        passes = rate(lambda: predict(images, timesteps), 1)

    signal_rates, noise_rates = (torch.from_numpy(arrays[key]).float() for key in ("signal_rates", "noise_rates"))
    data = torch.from_numpy(training_images()).permute(0, 3, 1, 2)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    slow, fast = list(average.parameters()), list(network.parameters())

    def loss_of(images, timesteps, noise):
        images = 2 * (images.float() / 255) - 1
        signals, noises = (rates[timesteps][:, None, None, None] for rates in (signal_rates, noise_rates))
        output = network(signals * images + noises * noise, timesteps)
        return (signals * (signals * noise - noises * images - output) ** 2).mean()

    loss_of = torch.compile(loss_of) if "compiled" in variant else loss_of

    def step():
        batch = data[torch.randint(len(data), (TRAINING_BATCH,))]
        timesteps = torch.randint(1, len(signal_rates), (TRAINING_BATCH,))
        noise = torch.randn(batch.shape)
        loss = loss_of(batch, timesteps, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(slow, fast, 0.001)
        return loss.item()

    training = rate(step, TRAINING_BATCH)
    return {
        "training_images_per_second": training,
        "passes_per_second": passes,
        "largest_difference": difference,
        "num_threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def run(*arguments):
    """Runs a part of this script in a process of its own; returns the last line that it prints."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]


def main():
    """Measures all variants, or does the part that the command line names."""
    if sys.argv[1:2] == ["export"]:
        export(sys.argv[2])
        return print("exported")
    if sys.argv[1:]:
        variant, file = sys.argv[1:]
        return print(json.dumps(measure_ours() if variant == "ours" else measure_torch(variant, file)))
    runs = {variant: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        file = str(pathlib.Path(folder) / "network.npz")
        run("export", file)
        for _ in range(ROUNDS):
            for variant in VARIANTS:
                runs[variant].append(json.loads(run(variant, file)))
                print(variant, runs[variant][-1], flush=True)

    from trilemma.records import environment, update_results

    row = {
        "command": "python benchmarks/torch_peer.py",
        "parameters": NUM_PARAMETERS,
        "rounds": ROUNDS,
        "num_threads": {"ours": os.cpu_count(), "torch": runs["eager"][0]["num_threads"]},
        "training_batch_size": TRAINING_BATCH,
        "pass_batch_size": PASS_BATCH,
        "torch": runs["eager"][0]["torch"],
    }
    for key in ("training_images_per_second", "passes_per_second"):
        row[key] = {variant: statistics.median(each[key] for each in rows) for variant, rows in runs.items()}
        others = [value for variant, value in row[key].items() if variant != "ours"]
        row[f"{key}_over_best_of_torch"] = row[key]["ours"] / max(others)
    differences = [each["largest_difference"] for variant in VARIANTS[1:] for each in runs[variant]]
    row["largest_difference"] = max(differences)
    row |= environment()
    update_results("torch_peer", {row["device"]: row})
    print(row)


if __name__ == "__main__":
    main()
