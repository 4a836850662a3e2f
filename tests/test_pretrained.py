import hashlib
import json

import numpy as np
import pytest

from trilemma import pretrained, recipes
from trilemma.pretrained import (
    list_pretrained,
    load_arrays,
    load_pretrained,
    save_arrays,
    save_pretrained,
    weights_name,
)

MEGABYTE = 10**6


@pytest.fixture
def shipped_vae(weights_dir, monkeypatch):
    """A tiny VAE with random weights as the only shipped model, and its file."""
    recipe = recipes.Recipe("vae.VAE", "mnist", dict(image_shape=(8, 8, 1), latent_size=2))
    monkeypatch.setitem(recipes.RECIPES, "vae_mnist", recipe)
    model = recipe.build()
    save_pretrained("vae_mnist", model, command="make it", minutes=1.5, device="a test")
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
    monkeypatch.setitem(recipes.RECIPES, "ddpm_mnist", recipes.Recipe("ddpm.DDPM", "mnist", settings))
    model = recipes.get_recipe("ddpm_mnist").build()
    averages = [random.standard_normal(weight.shape) for weight in model.ema_network.get_weights()]
    model.ema_network.set_weights(averages)
    save_pretrained("ddpm_mnist", model)
    return model


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
        "minutes": 1.5,
        "device": "a test",
    }


def test_saving_again_replaces_the_weights(shipped_vae):
    model, _ = shipped_vae
    load_pretrained("vae_mnist")
    model.set_weights([weight + 1 for weight in model.get_weights()])
    save_pretrained("vae_mnist", model)
    np.testing.assert_allclose(load_pretrained("vae_mnist").get_weights()[0], model.get_weights()[0], rtol=1e-3)


def test_arrays_keep_whole_numbers_exactly(weights_dir):
    arrays = {"features": np.linspace(0, 9, 7, dtype="float32"), "labels": np.arange(7, dtype="uint8")}
    save_arrays("reference_mnist", arrays)
    loaded = load_arrays("reference_mnist")
    assert {key: value.dtype for key, value in loaded.items()} == {"features": "float32", "labels": "uint8"}
    np.testing.assert_allclose(loaded["features"], arrays["features"], rtol=2**-11)
    np.testing.assert_array_equal(loaded["labels"], arrays["labels"])


def test_only_models_are_listed(shipped_vae):
    save_arrays("reference_mnist", {"labels": np.zeros(3, "uint8")})
    assert list_pretrained() == ["vae_mnist"]


def test_samplers_are_listed_with_the_weights_that_they_need(shipped_ddpm, monkeypatch):
    monkeypatch.setattr(
        pretrained, "SAMPLERS", {"two": ("ddpm", dict(name="ddim", num_steps=2)), "one": ("student", {})}
    )
    assert list_pretrained() == ["ddpm_mnist", "two_mnist"]
    assert weights_name("two_mnist") == weights_name("ddpm_mnist") == "ddpm_mnist"
    plain, two = load_pretrained("ddpm_mnist"), load_pretrained("two_mnist")
    assert (plain.passes_per_image, two.passes_per_image) == (3, 2)
    for one, other in zip(plain.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", pretrained.SAMPLERS)
def test_every_sampler_is_one_of_its_model(kind):
    base, arguments = pretrained.SAMPLERS[kind]
    model = recipes.get_recipe(f"{base}_mnist").build().use_sampler(**arguments)
    assert model.passes_per_image == arguments["num_steps"]


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


def test_shipped_files_match_their_checksums():
    index = json.loads((pretrained.WEIGHTS_DIR / "index.json").read_text())
    files = {file.stem: file for file in pretrained.WEIGHTS_DIR.glob("*.safetensors")}
    assert files.keys() == index.keys()
    for name, file in files.items():
        assert hashlib.sha256(file.read_bytes()).hexdigest() == index[name]["sha256"], name
        assert file.stat().st_size == index[name]["bytes"], name


def test_shipped_files_stay_small():
    assert sum(file.stat().st_size for file in pretrained.WEIGHTS_DIR.iterdir()) <= 60 * MEGABYTE


def test_shipped_models_tell_how_they_were_trained():
    index, commands = pretrained.pretrained_index(), ("python -m trilemma train", "python benchmarks/jax_training.py")
    for name in {weights_name(name) for name in list_pretrained()}:
        assert index[name]["command"] in [f"{command} {name}" for command in commands]
        assert index[name]["minutes"] > 0
        assert index[name]["device"]


@pytest.mark.slow
def test_every_shipped_model_fits_its_recipe():
    for name in {weights_name(name) for name in list_pretrained()}:  # Samplers share weights.
        model = load_pretrained(name)
        assert all(np.all(np.isfinite(weight)) for weight in model.get_weights()), name
