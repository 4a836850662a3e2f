import dataclasses
import hashlib
import json
import multiprocessing

import keras
import numpy as np
import pytest

from trilemma import files
from trilemma.models.ddpm import DDPM
from trilemma.models.mixture_vae import MixtureVAE
from trilemma.models.vae import VAE, build_decoder
from trilemma.training import pretrained, recipes
from trilemma.training.pretrained import (
    list_pretrained,
    load_arrays,
    load_into,
    load_pretrained,
    save_arrays,
    save_pretrained,
)
from trilemma.training.recipes import Recipe, get_recipe

MEGABYTE = 10**6


class Kill(Exception):
    """Stands for a process that is killed."""


@pytest.fixture
def shipped_vae(weights_dir, monkeypatch):
    """A tiny VAE with random weights as the only shipped model, and its file."""
    monkeypatch.setitem(recipes.RECIPES, "vae", Recipe(VAE, dict(image_shape=(8, 8, 1), latent_size=2)))
    recipe = get_recipe("vae_mnist")
    model = recipe.build()
    description = {"minutes": {"a test": 1.5}, "epoch": 20, "recipe": recipe.describe()}
    save_pretrained("vae_mnist", model, command="make it", **description)
    return model, weights_dir / "vae_mnist.safetensors"


def test_weights_survive_in_half_precision(shipped_vae):
    model, _ = shipped_vae
    loaded = load_pretrained("vae_mnist")
    for saved, restored in zip(model.get_weights(), loaded.get_weights(), strict=True):
        assert restored.dtype == np.float32
        np.testing.assert_allclose(restored, saved, rtol=2**-11, atol=1e-7)
    np.testing.assert_allclose(loaded.generate(2, seed=0), model.generate(2, seed=0), atol=2e-3)


@pytest.fixture
def shipped_ddpm(weights_dir, monkeypatch, random):
    """A tiny DDPM with random averaged weights as the only shipped model."""
    settings = dict(image_shape=(8, 8, 1), widths=(8,), num_timesteps=3)
    monkeypatch.setitem(recipes.RECIPES, "ddpm", Recipe(DDPM, settings))
    model = get_recipe("ddpm_mnist").build()
    averages = [random.standard_normal(weight.shape) for weight in model.ema_network.get_weights()]
    model.ema_network.set_weights(averages)
    save_pretrained("ddpm_mnist", model)
    return model


def test_the_weights_of_one_part_go_into_a_network_of_ones_own(shipped_vae):
    model, _ = shipped_vae
    own = build_decoder((8, 8, 1), 2)
    load_into(own, "vae_mnist", "decoder")
    latents = np.linspace(-1, 1, 6, dtype="float32").reshape(3, 2)
    np.testing.assert_allclose(own(latents), model.decoder(latents), atol=5e-3)
    assert len(own.weights) == len(model.decoder.weights)


def test_a_network_that_does_not_fit_learns_where_it_differs(shipped_vae):
    other = build_decoder((8, 8, 1), 3)
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"weight 0 of decoder has the shape \(3, 256\); .* \(2, 256\)"):
        load_into(other, "vae_mnist", "decoder")
    for weight, value in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)
    with pytest.raises(ValueError, match="'generator'; expected one of .'decoder', 'encoder'"):
        load_into(other, "vae_mnist", "generator")
    with pytest.raises(ValueError, match="unknown pretrained model 'vae_oil'"):
        load_into(other, "vae_oil", "decoder")


@pytest.mark.parametrize(("missing", "said"), [("own", "shape None"), ("shipped", "has None there")])
def test_a_layer_too_few_or_too_many_is_told(shipped_vae, missing, said):
    shorter = keras.Sequential([keras.Input((2,)), keras.layers.Dense(256)])
    longer = keras.Sequential([build_decoder((8, 8, 1), 2), keras.layers.Dense(4)])
    with pytest.raises(ValueError, match=said):
        load_into(shorter if missing == "own" else longer, "vae_mnist", "decoder")


def test_every_network_of_a_ddpm_gets_the_averaged_weights(shipped_ddpm):
    model, loaded = shipped_ddpm, load_pretrained("ddpm_mnist")
    averages = model.ema_network.get_weights()
    for network in (loaded.network, loaded.ema_network):
        for average, restored in zip(averages, network.get_weights(), strict=True):
            np.testing.assert_allclose(restored, average, rtol=1e-3, atol=1e-6)
    entry = pretrained.pretrained_index()["ddpm_mnist"]
    assert entry["parameters"] == model.network.count_params()


def test_index_tells_the_history_of_a_file(shipped_vae):
    model, file = shipped_vae
    entry = pretrained.pretrained_index()["vae_mnist"]
    assert entry == {
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "bytes": file.stat().st_size,
        "parameters": model.count_params(),
        "command": "make it",
        "minutes": {"a test": 1.5},
        "epoch": 20,
        "recipe": {
            "model": "VAE", "arguments": {"image_shape": [8, 8, 1], "latent_size": 2}, "conditional": False,
            "epochs": 20, "batch_size": 128, "learning_rate": 1e-3, "teacher": None,
            "weights": None, "seed": 0, "family": "vae", "data_set": "mnist",
        },
    }  # fmt: skip


def test_saving_again_replaces_the_weights(shipped_vae):
    model, _ = shipped_vae
    load_pretrained("vae_mnist")
    model.set_weights([0 * weight for weight in model.get_weights()])
    save_pretrained("vae_mnist", model, command="make zeros")
    assert all(np.all(weight == 0) for weight in load_pretrained("vae_mnist").get_weights())
    assert pretrained.pretrained_index()["vae_mnist"]["command"] == "make zeros"


def test_a_model_takes_a_dtype(shipped_vae):
    assert load_pretrained("vae_mnist", dtype="mixed_bfloat16").dtype_policy.name == "mixed_bfloat16"


def test_samplers_are_listed_where_their_weights_are(shipped_vae):
    assert list_pretrained() == ["vae_mnist"]
    save_arrays("ddpm_mnist", {"weights": np.zeros(1, "float32")})
    save_arrays("reference_mnist", {"labels": np.zeros(1, "uint8")})
    assert list_pretrained() == ["ddpm_mnist", "solver20_mnist", "vae_mnist"]


def test_weights_are_drawn_with_as_they_were_trained_whatever_the_recipe_is_now(shipped_ddpm, monkeypatch):
    trained = get_recipe("ddpm_mnist")
    save_pretrained("ddpm_mnist", shipped_ddpm, recipe=trained.describe())
    assert not pretrained.is_outdated("ddpm_mnist")
    assert "older recipe" not in pretrained.weights_table()
    older = {key: value for key, value in trained.describe().items() if key != "conditional"}
    save_pretrained("ddpm_mnist", shipped_ddpm, recipe={**older, "a field that is gone": 1})
    assert not pretrained.is_outdated("ddpm_mnist")  # A field that came later had its default.
    wider = dataclasses.replace(trained, arguments={**trained.arguments, "widths": (16,), "num_timesteps": 5})
    sampler = dict(name="ddim", num_steps=2)
    few = dataclasses.replace(wider, weights="ddpm", arguments={**wider.arguments, "sampler": sampler})
    monkeypatch.setitem(recipes.RECIPES, "ddpm", wider)
    monkeypatch.setitem(recipes.RECIPES, "solver20", few)
    assert pretrained.is_outdated("ddpm_mnist")
    assert "older recipe than the one that would be used now: ddpm_mnist." in pretrained.weights_table()
    for name, passes in (("ddpm_mnist", 3), ("solver20_mnist", 2)):
        model = load_pretrained(name)
        assert (model.config["widths"], model.schedule.num_timesteps, model.passes_per_image) == ((8,), 3, passes)
        for one, other in zip(model.ema_network.get_weights(), shipped_ddpm.ema_network.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


@pytest.fixture
def shipped_mixture(shipped_vae, monkeypatch, random):
    """The tiny VAE and a prior that was fitted to its codes, as training leaves it."""
    settings = dict(image_shape=(8, 8, 1), latent_size=2, num_components=3)
    monkeypatch.setitem(recipes.RECIPES, "mixture_vae", Recipe(MixtureVAE, settings, teacher="vae"))
    model = get_recipe("mixture_vae_mnist").build().learn_from(load_pretrained("vae_mnist"))
    model.mixture.set_weights([random.standard_normal(weight.shape) for weight in model.mixture.get_weights()])
    save_pretrained("mixture_vae_mnist", model, epoch=20)
    return model


def test_a_fitted_prior_ships_without_the_networks_of_its_teacher(shipped_mixture):
    assert {key.split("/")[0] for key in load_arrays("mixture_vae_mnist")} == {"prior"}
    loaded, teacher = load_pretrained("mixture_vae_mnist"), load_pretrained("vae_mnist")
    np.testing.assert_allclose(loaded.generate(4, seed=0), shipped_mixture.generate(4, seed=0), atol=5e-3)
    for name in ("encoder", "decoder"):
        for one, other in zip(loaded.networks[name], teacher.networks[name], strict=True):
            assert all(map(np.array_equal, one.get_weights(), other.get_weights()))
    own = build_decoder((8, 8, 1), 2)
    load_into(own, "mixture_vae_mnist", "decoder")
    np.testing.assert_array_equal(own.get_weights()[0], loaded.decoder.get_weights()[0])
    assert get_recipe("mixture_vae_mnist").weights_files == ["mixture_vae_mnist", "vae_mnist"]
    assert pretrained.pretrained_index()["mixture_vae_mnist"]["parameters"] == shipped_mixture.count_params()


def test_a_fitted_prior_is_not_drawn_with_a_teacher_that_came_later(shipped_mixture, shipped_vae):
    model, file = shipped_vae
    model.set_weights([0 * weight for weight in model.get_weights()])
    save_pretrained("vae_mnist", model)
    with pytest.raises(ValueError, match="another vae_mnist than .* python -m trilemma train mixture_vae_mnist"):
        load_pretrained("mixture_vae_mnist")
    with pytest.raises(ValueError, match=r"coder/\d+ of mixture_vae_mnist is not as vae_mnist has it now; train"):
        save_pretrained("mixture_vae_mnist", shipped_mixture)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="weights/vae_mnist.safetensors is missing"):
        load_pretrained("mixture_vae_mnist")


def test_arrays_keep_whole_numbers_exactly(weights_dir):
    arrays = {"features": np.linspace(0, 9, 7, dtype="float32"), "labels": np.arange(7, dtype="uint8")}
    save_arrays("reference_mnist", arrays)
    loaded = load_arrays("reference_mnist")
    assert {key: value.dtype for key, value in loaded.items()} == {"features": "float32", "labels": "uint8"}
    np.testing.assert_allclose(loaded["features"], arrays["features"], rtol=2**-11)
    np.testing.assert_array_equal(loaded["labels"], arrays["labels"])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "uint8"])
def test_arrays_come_back_whatever_their_order_and_precision(weights_dir, dtype):
    array = keras.ops.convert_to_numpy(keras.ops.cast(np.arange(24).reshape(4, 6), dtype))
    arrays = {"plain": array, "transposed": array.T, "every second": array[:, ::2], "one": array[0, 0:1]}
    save_arrays("reference_mnist", arrays)
    loaded = load_arrays("reference_mnist")
    for key, value in arrays.items():
        assert loaded[key].dtype == ("uint8" if dtype == "uint8" else "float32")
        np.testing.assert_array_equal(loaded[key], value.astype("float32"))


def test_a_sampler_draws_with_the_weights_of_its_model(shipped_ddpm, monkeypatch):
    two = dataclasses.replace(
        recipes.RECIPES["ddpm"],
        weights="ddpm",
        arguments={**recipes.RECIPES["ddpm"].arguments, "sampler": dict(name="ddim", num_steps=2)},
    )
    monkeypatch.setitem(recipes.RECIPES, "two", two)
    monkeypatch.setitem(recipes.RECIPES, "one", dataclasses.replace(two, weights="student"))
    monkeypatch.delitem(recipes.RECIPES, "solver20")
    assert list_pretrained() == ["ddpm_mnist", "two_mnist"]
    plain, few = load_pretrained("ddpm_mnist"), load_pretrained("two_mnist")
    assert (plain.passes_per_image, few.passes_per_image) == (3, 2)
    for one, other in zip(plain.get_weights(), few.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["vae", "reference_mnist", "ddpm_mnist"])
def test_unknown_names_list_the_shipped_models(shipped_vae, name):
    with pytest.raises(ValueError, match=f"'{name}'.*\\['vae_mnist'\\]"):
        load_pretrained(name)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_cut_file_is_named(shipped_vae, share):
    _, file = shipped_vae
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="vae_mnist.safetensors was cut or changed.*SHA-256"):
        load_pretrained("vae_mnist")


@pytest.mark.parametrize("position", [0, 100, -1])
def test_changed_byte_is_noticed(shipped_vae, position):
    _, file = shipped_vae
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="vae_mnist.safetensors was cut or changed"):
        load_pretrained("vae_mnist")


def test_missing_file_is_named(shipped_vae):
    _, file = shipped_vae
    file.unlink()
    with pytest.raises(FileNotFoundError, match="vae_mnist.safetensors is missing.*restore"):
        load_pretrained("vae_mnist")


@pytest.mark.parametrize("text", ["", '{"vae_mnist": {', "[not json]"])
def test_damaged_index_is_named(shipped_vae, weights_dir, text):
    (weights_dir / "index.json").write_text(text)
    for use in (list_pretrained, pretrained.pretrained_index, lambda: load_pretrained("vae_mnist")):
        with pytest.raises(ValueError, match="weights/index.json is damaged.*restore the file"):
            use()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e6])
@pytest.mark.filterwarnings("ignore:overflow")
def test_weights_that_are_no_numbers_are_not_saved(shipped_vae, value):
    model, file = shipped_vae
    content = file.read_bytes()
    weights = model.get_weights()
    weights[0].ravel()[3] = value
    model.set_weights(weights)
    with pytest.raises(ValueError, match="encoder/000 of vae_mnist is not finite.*not saved"):
        save_pretrained("vae_mnist", model)
    assert file.read_bytes() == content
    assert pretrained.pretrained_index()["vae_mnist"]["command"] == "make it"


def values(number):
    return {"weights": np.full(5, number, "float32")}


def save_until(monkeypatch, number, name, arrays, **description):
    """Saves arrays; the process is killed when it begins to write its file of this number."""
    write, calls = files.write_safely, []

    def kill(path, content):
        calls.append(path)
        if len(calls) == number:
            raise Kill
        write(path, content)

    with monkeypatch.context() as patch, pytest.raises(Kill):
        patch.setattr(files, "write_safely", kill)
        save_arrays(name, arrays, **description)
    return calls[-1].name


@pytest.mark.parametrize(
    ("number", "next_file", "command"), [(1, "index.json", 1), (2, "ddpm_mnist.safetensors", 1), (3, "index.json", 2)]
)
def test_a_kill_while_weights_are_replaced_leaves_the_old_ones_or_the_new(
    weights_dir, monkeypatch, number, next_file, command
):
    save_arrays("ddpm_mnist", values(1), command=1)
    assert save_until(monkeypatch, number, "ddpm_mnist", values(2), command=2) == next_file
    assert load_arrays("ddpm_mnist")["weights"].tolist() == [command] * 5
    entry = pretrained.pretrained_index()["ddpm_mnist"]
    content = (weights_dir / "ddpm_mnist.safetensors").read_bytes()
    assert entry == {"command": command, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    save_arrays("ddpm_mnist", values(3), command=3)
    assert load_arrays("ddpm_mnist")["weights"].tolist() == [3] * 5
    assert "replaces" not in json.loads((weights_dir / "index.json").read_text())["ddpm_mnist"]


@pytest.mark.parametrize(("number", "listed"), [(1, []), (2, []), (3, ["ddpm_mnist", "solver20_mnist"])])
def test_a_first_save_that_was_cut_is_not_listed(weights_dir, monkeypatch, number, listed):
    save_until(monkeypatch, number, "ddpm_mnist", values(1))
    assert list_pretrained() == listed
    if not listed:
        with pytest.raises(FileNotFoundError, match="ddpm_mnist.safetensors is missing"):
            load_arrays("ddpm_mnist")
    save_arrays("ddpm_mnist", values(2))
    assert load_arrays("ddpm_mnist")["weights"].tolist() == [2] * 5


def test_a_second_kill_keeps_the_weights_that_are_there(weights_dir, monkeypatch):
    save_arrays("ddpm_mnist", values(1), command=1)
    for command in (2, 3):
        save_until(monkeypatch, 2, "ddpm_mnist", values(command), command=command)
        assert load_arrays("ddpm_mnist")["weights"].tolist() == [1] * 5
        assert pretrained.pretrained_index()["ddpm_mnist"]["command"] == 1


def test_a_kill_of_one_file_leaves_the_other_entries(weights_dir, monkeypatch):
    save_arrays("ddpm_mnist", values(1), command=1)
    save_until(monkeypatch, 2, "vae_mnist", values(2), command=2)
    save_arrays("dcgan_mnist", values(3), command=3)
    assert {name: entry["command"] for name, entry in pretrained.pretrained_index().items()} == {
        "ddpm_mnist": 1, "dcgan_mnist": 3,
    }  # fmt: skip


def test_weights_that_are_replaced_while_they_are_read_are_read_again(weights_dir, monkeypatch):
    save_arrays("ddpm_mnist", values(1))
    read = pretrained._read_arrays

    def replace_and_read(path, sha256):
        monkeypatch.setattr(pretrained, "_read_arrays", read)
        save_arrays("ddpm_mnist", values(2))
        return read(path, sha256)

    monkeypatch.setattr(pretrained, "_read_arrays", replace_and_read)
    assert load_arrays("ddpm_mnist")["weights"].tolist() == [2] * 5


@pytest.mark.filterwarnings("ignore:.*fork")
def test_saves_of_two_processes_lose_nothing(weights_dir):
    def save_many(prefix):
        for number in range(20):
            save_arrays(f"{prefix}{number}", values(number))

    processes = [multiprocessing.get_context("fork").Process(target=save_many, args=(name,)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert set(pretrained.pretrained_index()) == {f"{name}{number}" for name in "ab" for number in range(20)}
    assert load_arrays("b7")["weights"].tolist() == [7] * 5


@pytest.fixture
def read_only(monkeypatch):
    """Folders that are put in here cannot be written, not even by root."""
    folders, is_writable = [], files.is_writable
    monkeypatch.setattr(files, "is_writable", lambda folder: folder not in folders and is_writable(folder))
    return folders


def test_where_the_package_is_read_only_weights_go_to_the_working_folder(shipped_vae, read_only, weights_dir):
    model, file = shipped_vae
    content = file.read_bytes()
    save_arrays("reference_mnist", {"labels": np.arange(3, dtype="uint8")})
    read_only.append(weights_dir)
    model.set_weights([0 * weight for weight in model.get_weights()])
    with pytest.warns(UserWarning, match="is read-only; weights go to.*trilemma_weights"):
        folder = save_pretrained("vae_mnist", model, command="make zeros")
    assert folder == pretrained.WORKING_DIR
    assert file.read_bytes() == content
    assert sorted(path.name for path in folder.glob("*.*")) == [".lock", "index.json", "vae_mnist.safetensors"]
    assert all(np.all(weight == 0) for weight in load_pretrained("vae_mnist").get_weights())
    assert pretrained.pretrained_index()["vae_mnist"]["command"] == "make zeros"
    assert load_arrays("reference_mnist")["labels"].tolist() == [0, 1, 2]


def test_where_nothing_can_be_written_both_folders_are_named(shipped_vae, read_only, weights_dir):
    read_only.extend([weights_dir, pretrained.WORKING_DIR])
    with pytest.raises(ValueError, match="neither to .*weights nor to .*trilemma_weights; start in a folder"):
        save_pretrained("vae_mnist", shipped_vae[0])


def test_shipped_files_match_their_checksums():
    index = json.loads((pretrained.WEIGHTS_DIR / "index.json").read_text())
    shipped = {file.stem: file for file in pretrained.WEIGHTS_DIR.glob("*.safetensors")}
    assert shipped.keys() == index.keys()
    for name, file in shipped.items():
        assert hashlib.sha256(file.read_bytes()).hexdigest() == index[name]["sha256"], name
        assert file.stat().st_size == index[name]["bytes"], name


def test_shipped_files_stay_small():
    assert sum(file.stat().st_size for file in pretrained.WEIGHTS_DIR.iterdir()) <= 96 * MEGABYTE


def shipped_models():
    """Name -> entry of the index, of everything but references."""
    index = json.loads((pretrained.WEIGHTS_DIR / "index.json").read_text())
    return {name: entry for name, entry in index.items() if not name.startswith("reference")}


def test_shipped_models_tell_how_they_were_trained():
    commands = ("python -m trilemma train", "python benchmarks/jax_training.py", "KERAS_BACKEND=jax python -m trilemma")
    for name, entry in shipped_models().items():
        lower = " --precision bfloat16"
        assert entry["command"].removesuffix(lower).endswith(f" {name}"), name
        assert entry["command"].startswith(commands), name
        assert all((", bfloat16" in device) == (lower in entry["command"]) for device in entry["minutes"]), name
        assert entry["minutes"] and all(device and value > 0 for device, value in entry["minutes"].items()), name


def test_shipped_models_were_trained_for_the_epochs_of_their_recipe():
    assert shipped_models().keys() >= {"vae_mnist", "student_fashion_mnist", "ddgan_stacked_mnist"}
    for name, entry in shipped_models().items():
        epochs = get_recipe(name).epochs
        assert entry["epoch"] == (75 if name == "ddgan_stacked_mnist" else epochs), name
    assert get_recipe("ddgan_stacked_mnist").epochs == 125


def test_shipped_models_are_described_by_the_registry():
    assert all("recipe" in entry for entry in shipped_models().values())
    assert [name for name in shipped_models() if pretrained.is_outdated(name)] == []


def test_every_shipped_file_is_one_of_a_recipe_or_a_reference():
    index = json.loads((pretrained.WEIGHTS_DIR / "index.json").read_text())
    references = {f"reference{end}_{name}" for end in ("", "2") for name in ("mnist", "fashion_mnist")}
    assert {name for name in index if name.startswith("reference")} == references
    assert shipped_models().keys() == {get_recipe(name).weights_name for name in list_pretrained()}


@pytest.mark.slow
def test_every_shipped_model_fits_its_recipe():
    for name in {get_recipe(name).weights_name for name in list_pretrained()}:  # Samplers share weights.
        model = load_pretrained(name)
        assert all(np.all(np.isfinite(weight)) for weight in model.get_weights()), name
