"""Shipped weights: half-precision safetensors files, each with its checksum and its history in `index.json`."""

import functools
import hashlib
import json
import pathlib

import numpy as np
import safetensors.numpy

from trilemma import data, recipes

WEIGHTS_DIR = pathlib.Path(__file__).parent / "weights"
# More ways to draw with the same weights: model -> the model whose weights it takes, arguments of its `use_sampler`.
SAMPLERS = {
    "solver20": ("ddpm", dict(name="dpm_solver", num_steps=20, power=0.8, eta=1.0)),
    "student1": ("student", dict(num_steps=1)),
    "student2": ("student", dict(num_steps=2)),
}


def list_pretrained():
    """Names for `load_pretrained`, in alphabetical order."""
    shipped = [name for name in pretrained_index() if name in recipes.RECIPES]
    sampled = [f"{kind}_{data_set}" for kind in SAMPLERS for data_set in data.DATA_SETS]
    return sorted(shipped + [name for name in sampled if weights_name(name) in shipped])


def weights_name(name):
    """The weights file behind a name of `list_pretrained`: that of "solver20_mnist" is "ddpm_mnist"."""
    kind, _, data_set = name.partition("_")
    return f"{SAMPLERS[kind][0]}_{data_set}" if kind in SAMPLERS else name


def pretrained_index():
    """What ships: name -> sha256, and for models command, minutes, device and parameters of the training."""
    return json.loads((WEIGHTS_DIR / "index.json").read_text())


def load_pretrained(name):
    """Builds a model and loads its shipped weights.

    Args:
        name: "<model>_<data set>", for example "vae_mnist", or with a sampler of `SAMPLERS` in place of the model;
            `list_pretrained` lists them.

    Returns:
        The model, ready for `generate`, or for `compile` and `fit`.

    Raises:
        ValueError: unknown name, or a file that was cut or changed.
        FileNotFoundError: the file is missing.
    """
    if name not in list_pretrained():
        raise ValueError(f"unknown pretrained model {name!r}; expected one of {list_pretrained()}.")
    tensors = load_arrays(weights_name(name))
    model = recipes.get_recipe(weights_name(name)).build()
    for prefix, networks in model.networks.items():
        for network in networks:
            network.set_weights([tensors[f"{prefix}/{i:03d}"] for i in range(len(network.weights))])
    if name != weights_name(name):
        _, arguments = SAMPLERS[name.partition("_")[0]]
        model.use_sampler(**arguments)
    return model


def save_pretrained(name, model, **history):
    """Writes a trained model's weights, and `history` (command, minutes, device, ...) to the index."""
    tensors = {
        f"{prefix}/{i:03d}": weight
        for prefix, networks in model.networks.items()
        for i, weight in enumerate(networks[0].get_weights())
    }
    save_arrays(name, tensors, parameters=count_parameters(model), **history)


def count_parameters(model):
    """Number of trainable parameters; averaged copies of them do not count."""
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def save_arrays(name, arrays, **description):
    """Writes `<name>.safetensors`, float arrays in half precision, and its checksum to the index."""
    arrays = {
        key: np.ascontiguousarray(value, np.float16 if value.dtype.kind == "f" else value.dtype)
        for key, value in arrays.items()
    }
    content = safetensors.numpy.save(arrays)
    WEIGHTS_DIR.mkdir(exist_ok=True)
    (WEIGHTS_DIR / f"{name}.safetensors").write_bytes(content)
    index_file = WEIGHTS_DIR / "index.json"
    index = json.loads(index_file.read_text()) if index_file.exists() else {}
    index[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **description}
    index_file.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
    load_arrays.cache_clear()


@functools.cache
def load_arrays(name):
    """Reads `<name>.safetensors` after checking it: a dict of arrays, floats as float32.

    Errors as in `load_pretrained`.
    """
    path = WEIGHTS_DIR / f"{name}.safetensors"
    remedy = "Install trilemma again, or restore the file from the repository."
    if not path.exists():
        raise FileNotFoundError(f"the weights file {path} is missing. {remedy}")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != pretrained_index()[name]["sha256"]:
        raise ValueError(
            f"the weights file {path} was cut or changed: its SHA-256 is not the one in index.json. {remedy}"
        )
    arrays = safetensors.numpy.load(content)
    return {key: value.astype("float32") if value.dtype.kind == "f" else value for key, value in arrays.items()}
