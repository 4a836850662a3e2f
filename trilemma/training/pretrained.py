"""Weights files: half-precision safetensors, each with its checksum and its history in `index.json` beside them."""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import pathlib
import warnings

import numpy as np
import safetensors.numpy

from trilemma import files, records
from trilemma.training import recipes

WEIGHTS_DIR = pathlib.Path(__file__).parent.parent / "weights"
WORKING_DIR = pathlib.Path("trilemma_weights")  # where one works, if the package's own folder cannot be written
_FLOATS = ("float16", "bfloat16", "float32", "float64")
_REMEDY = "Install trilemma again, or restore the file from the repository."


def list_pretrained():
    """Names for `load_pretrained`, in alphabetical order."""
    shipped = pretrained_index()
    return sorted(name for name in recipes.recipe_names() if recipes.get_recipe(name).weights_name in shipped)


def pretrained_index():
    """What there is: name -> sha256, and for models command, recipe, epoch, minutes by device, and parameters."""
    return {**_read_index(WEIGHTS_DIR), **_read_index(WORKING_DIR)}


def load_pretrained(name, **kwargs):
    """Builds a model and loads its shipped weights.

    Args:
        name: "<family>_<data set>", for example "vae_mnist"; `list_pretrained` lists them.
        **kwargs: dtype of the Keras model.

    Returns:
        The model, ready for `generate`, or for `compile` and `fit`.

    Raises:
        ValueError: unknown name, a file that was cut or changed, or one whose teacher has other weights now.
        FileNotFoundError: the file is missing.
    """
    if name not in list_pretrained():
        raise ValueError(f"unknown pretrained model {name!r}; expected one of {list_pretrained()}.")
    recipe = as_trained(name)
    tensors = _load_networks(recipe)
    model = recipe.build(**kwargs)
    needed = {f"{prefix}/{i:03d}" for prefix, each in model.networks.items() for i in range(len(each[0].weights))}
    if needed != tensors.keys():
        raise ValueError(
            f"the weights of {name} have {len(tensors)} arrays; its recipe builds a model with {len(needed)}. {_REMEDY}"
        )
    for prefix, networks in model.networks.items():
        for network in networks:
            network.set_weights([tensors[f"{prefix}/{i:03d}"] for i in range(len(network.weights))])
    return model


def _load_networks(recipe):
    """All networks of the model of a recipe, its teacher's among them: "<network>/<number>" -> array."""
    own, others = load_arrays(recipe.weights_name), recipe.model.networks_of_teacher
    if not others:
        return own
    of_teacher, index = load_arrays(recipe.teacher_name), pretrained_index()
    if index[recipe.weights_name].get("teacher_sha256") != index[recipe.teacher_name]["sha256"]:
        raise ValueError(
            f"{recipe.weights_name} goes with another {recipe.teacher_name} than the one that is there; train it anew: "
            f"python -m trilemma train {recipe.weights_name}"
        )
    return {**{key: array for key, array in of_teacher.items() if key.split("/")[0] in others}, **own}


def load_into(network, name, part):
    """Loads what ships of one network into a network of one's own, which has the same layers in the same order.

    Args:
        network: keras.Model with its weights built.
        name: "<family>_<data set>", as in `load_pretrained`.
        part: the network's name in the model, for example "decoder" of "vae_mnist".

    Raises:
        ValueError: unknown name or part, or a network whose weights have other shapes; see `load_pretrained` too.
    """
    if name not in list_pretrained():
        raise ValueError(f"unknown pretrained model {name!r}; expected one of {list_pretrained()}.")
    tensors = _load_networks(as_trained(name))
    parts = sorted({key.split("/")[0] for key in tensors})
    if part not in parts:
        raise ValueError(f"{name} has no part {part!r}; expected one of {parts}.")
    shipped = [tensors[key] for key in sorted(tensors) if key.split("/")[0] == part]
    own = [tuple(weight.shape) for weight in network.weights]
    for i, (shape, array) in enumerate(itertools.zip_longest(own, shipped)):
        expected = None if array is None else array.shape
        if shape != expected:
            raise ValueError(
                f"weight {i} of {network.name} has the shape {shape}; {part} of {name} has {expected} there. "
                "Build the same layers, of the same sizes and in the same order."
            )
    network.set_weights(shipped)


def as_trained(name):
    """The recipe of a model with the arguments that its weights were trained with.

    `recipes.get_recipe` says how a model is trained next; weights that are older go on being drawn with as they are.
    What a row of its own changes, its sampler, comes from the registry.
    """
    recipe = recipes.get_recipe(name)
    trained = pretrained_index()[recipe.weights_name].get("recipe")
    if trained is None:
        return recipe
    family = recipes.get_recipe(recipe.weights_name).arguments
    own = {key: value for key, value in recipe.arguments.items() if key not in family or family[key] != value}
    return dataclasses.replace(recipe, arguments={**trained["arguments"], **own})


def is_outdated(name):
    """Whether a weights file was trained by another recipe than the registry now holds for its name."""
    trained = pretrained_index()[name].get("recipe")
    if trained is None:
        return False
    # A recipe recorded before a field was added had what is the default now; fields that are gone do not count.
    recorded = {field.name: trained.get(field.name, field.default) for field in dataclasses.fields(recipes.Recipe)}
    return recorded != json.loads(json.dumps(recipes.get_recipe(name).describe()))


def save_pretrained(name, model, **history):
    """Writes a trained model's weights, and `history` (command, recipe, epoch, minutes) to the index; its folder.

    Raises:
        ValueError: weights are not finite, or networks that it has of a teacher are not as the teacher's file has them.
    """
    tensors = {
        f"{prefix}/{i:03d}": weight
        for prefix, networks in model.networks.items()
        for i, weight in enumerate(networks[0].get_weights())
    }
    if model.networks_of_teacher:
        teacher = recipes.get_recipe(name).teacher_name
        history["teacher_sha256"] = pretrained_index()[teacher]["sha256"]
        for key, array in load_arrays(teacher).items():
            if key.split("/")[0] in model.networks_of_teacher and not np.array_equal(tensors.pop(key), array):
                raise ValueError(f"{key} of {name} is not as {teacher} has it now; train {name} anew.")
    return save_arrays(name, tensors, parameters=count_parameters(model), **history)


def count_parameters(model):
    """Number of trainable parameters; averaged copies of them do not count."""
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def writable_folder():
    """Where weights are written: the package's own folder, or, where that is read-only, one in the working folder.

    Raises:
        ValueError: neither can be written.
    """
    if files.is_writable(WEIGHTS_DIR):
        return WEIGHTS_DIR
    if files.is_writable(WORKING_DIR):
        warnings.warn(f"{WEIGHTS_DIR} is read-only; weights go to {WORKING_DIR.resolve()}.", stacklevel=2)
        return WORKING_DIR
    raise ValueError(
        f"weights can be written neither to {WEIGHTS_DIR} nor to {WORKING_DIR.resolve()}; "
        "start in a folder where you may write."
    )


def save_arrays(name, arrays, **description):
    """Writes `<name>.safetensors`, float arrays in half precision, and its checksum to the index; returns the folder.

    A kill at any moment leaves the old weights or the new ones: the index is written first, and holds both until the
    file is replaced.
    """
    arrays = {
        # safetensors writes memory as it lies there, and does not read what NumPy calls bfloat16.
        key: np.ascontiguousarray(value, np.float16 if value.dtype.name in _FLOATS else value.dtype)
        for key, value in arrays.items()
    }
    for key, value in arrays.items():
        if value.dtype.kind == "f" and not np.all(np.isfinite(value)):
            raise ValueError(f"{key} of {name} is not finite in half precision; such weights are not saved.")
    content, folder = safetensors.numpy.save(arrays), writable_folder()
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **description}
    with files.locked(folder):
        index = _read_index(folder)
        _write_index(folder, {**index, name: {**entry, "replaces": index.get(name)}})
        files.write_safely(folder / f"{name}.safetensors", content)
        _write_index(folder, {**index, name: entry})
    return folder


def _read_index(folder):
    """The index; where a replacement was cut short, the entry of the file that is there, if any."""
    path = folder / "index.json"
    try:
        index = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}). {_REMEDY}") from error
    for name in [name for name, entry in index.items() if "replaces" in entry]:
        older, file = index[name].pop("replaces"), folder / f"{name}.safetensors"
        if not file.exists() or hashlib.sha256(file.read_bytes()).hexdigest() != index[name]["sha256"]:
            index[name] = older
    return {name: entry for name, entry in index.items() if entry is not None}


def _write_index(folder, index):
    files.write_safely(folder / "index.json", json.dumps(index, indent=1, sort_keys=True) + "\n")


def load_arrays(name):
    """Reads `<name>.safetensors` after checking it: a dict of arrays, floats as float32.

    Errors as in `load_pretrained`.
    """
    folder = WORKING_DIR if name in _read_index(WORKING_DIR) else WEIGHTS_DIR
    path = folder / f"{name}.safetensors"
    for _ in range(2):  # Between the index and the file another process may have replaced both.
        index = _read_index(folder)
        if name not in index or not path.exists():
            raise FileNotFoundError(f"the weights file {path} is missing. {_REMEDY}")
        with contextlib.suppress(ValueError):
            return _read_arrays(path, index[name]["sha256"])
    raise ValueError(f"the weights file {path} was cut or changed: its SHA-256 is not the one in index.json. {_REMEDY}")


@functools.cache
def _read_arrays(path, sha256):
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} has another checksum.")
    arrays = safetensors.numpy.load(content)
    return {key: value.astype("float32") if value.dtype.kind == "f" else value for key, value in arrays.items()}


def weights_table():
    """Every shipped weights file as a Markdown table."""
    rows = [{"file": name, **entry} for name, entry in pretrained_index().items()]
    for row in rows:
        if "minutes" in row:
            row["minutes"] = ", ".join(f"{value:.1f} ({name})" for name, value in row["minutes"].items())
    columns = {"file": "", "bytes": ",d", "parameters": ",d", "epoch": "d", "minutes": "", "command": ""}
    note = (
        "Commands that name benchmarks/jax_training.py are of version 0.1; now it is "
        "`KERAS_BACKEND=jax python -m trilemma train NAME`."
    )
    outdated = [row["file"] for row in rows if is_outdated(row["file"])]
    if outdated:
        note += f" Trained by an older recipe than the one that would be used now: {', '.join(outdated)}."
    return records.markdown_table(rows, columns | {"sha256": ".12"}) + f"\n\n{note}"
