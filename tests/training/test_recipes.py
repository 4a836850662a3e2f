import dataclasses
import json

import pytest

from trilemma.data import DATA_SETS
from trilemma.training import recipes
from trilemma.training.recipes import CHANGES, RECIPES, get_recipe, recipe_names

QUARTER = {"discriminator_width": 16}
SOLVER = {"name": "dpm_solver", "num_steps": 20, "power": 0.8, "eta": 1.0}
# family -> model, arguments, epochs, batch size, learning rate, teacher, family of the weights. Whoever changes a
# recipe changes what the shipped weights are said to be: train them anew, then change this table.
FROZEN = {
    "classifier": ("Classifier", {}, 10, 128, 2e-3, None, None),
    "classifier2": ("Classifier", {"architecture": "residual"}, 10, 128, 1e-3, None, None),
    "vae2": ("VAE", {"latent_size": 2}, 6, 128, 1e-3, None, None),
    "vae": ("VAE", {"latent_size": 32}, 60, 128, 1e-3, None, None),
    "cvae": ("VAE", {"latent_size": 32}, 60, 128, 1e-3, None, None),
    "mixture_vae": ("MixtureVAE", {"latent_size": 32}, 20, 256, 5e-3, "vae", None),
    "dcgan": ("DCGAN", {}, 6, 64, 2e-4, None, None),
    "dcgan_averaged": ("DCGAN", {"ema_decay": 0.999, "averaged": True}, 50, 64, 4e-4, None, None),
    "dcgan2": ("DCGAN", {"latent_size": 2}, 6, 64, 2e-4, None, None),
    "dcgan_quarter": ("DCGAN", QUARTER, 6, 64, 2e-4, None, None),
    "dcgan_crippled": ("DCGAN", {**QUARTER, "batch_normalization": False}, 6, 64, 2e-4, None, None),
    "gan": ("GAN", {}, 70, 128, 2e-4, None, None),
    "cgan": ("GAN", {}, 70, 128, 2e-4, None, None),
    "gan_dcgan": ("GAN", {"architecture": "dcgan", "latent_size": 100}, 60, 64, 2e-4, None, None),
    "ddpm": ("DDPM", {}, 18, 64, 1e-3, None, None),
    "solver20": ("DDPM", {"sampler": SOLVER}, 18, 64, 1e-3, None, "ddpm"),
    "cddpm": ("DDPM", {"sampler": SOLVER}, 18, 64, 1e-3, None, None),
    "student": ("Student", {"ema_decay": 0.99}, 12, 64, 1e-3, "ddpm", None),
    "student2": ("Student", {"ema_decay": 0.99, "sampler": {"num_steps": 2}}, 12, 64, 1e-3, "ddpm", "student"),
    "student1": ("Student", {"ema_decay": 0.99, "sampler": {"num_steps": 1}}, 12, 64, 1e-3, "ddpm", "student"),
    "ddgan": ("DDGAN", {}, 60, 256, 2e-4, None, None),
    "vae_gan": ("VAEGAN", {}, 21, 64, 4e-4, None, None),
    "vae_dcgan": ("VAE", {"architecture": "dcgan", "latent_size": 32}, 60, 64, 1e-3, None, None),
    "mixture_vae_gan": ("MixtureVAEGAN", {}, 20, 256, 5e-3, "vae_gan", None),
    "mixture_vae_dcgan": (
        "MixtureVAE",
        {"architecture": "dcgan", "latent_size": 32},
        20,
        256,
        5e-3,
        "vae_dcgan",
        None,
    ),
    "pixelcnn": (
        "PixelCNN",
        {"levels": 256, "width": 32, "embedding_size": 16, "head_width": 128, "vertical_residual": True},
        12,
        64,
        3e-3,
        None,
        None,
    ),
    "pixelcnn_binary": ("PixelCNN", {"levels": 2, "width": 32}, 15, 64, 1e-3, None, None),
}
LONG_STEPS = {
    "discriminator_width": 128, "minibatch_deviation": True, "training_timesteps": (1, 2, 2, 3, 3, 3, 4, 4),
}  # fmt: skip
FROZEN_CHANGES = {
    ("ddpm", "stacked_mnist"): ("DDPM", {"num_timesteps": 100}, 18, 64, 1e-3, None, None),
    ("solver20", "stacked_mnist"): (
        "DDPM", {"sampler": SOLVER, "num_timesteps": 100}, 18, 64, 1e-3, None, "ddpm",
    ),
    ("ddgan", "stacked_mnist"): ("DDGAN", LONG_STEPS, 125, 256, 2e-4, None, None),
}  # fmt: skip
SHAPES = {
    "mnist": (28, 28, 1), "fashion_mnist": (28, 28, 1), "stacked_mnist": (28, 28, 3), "cifar10": (32, 32, 3),
}  # fmt: skip


# Nothing tells 1,000 modes apart: they have no names.
PAIRS = [(family, data_set) for family in FROZEN for data_set in SHAPES]
LABELLED = ("classifier", "classifier2", "cvae", "cgan", "cddpm")
PAIRS = [pair for pair in PAIRS if pair not in {(family, "stacked_mnist") for family in LABELLED}]


@pytest.mark.parametrize(("family", "data_set"), PAIRS)
def test_recipe_is_the_one_of_the_table(family, data_set):
    recipe = get_recipe(f"{family}_{data_set}")
    keys = ("arguments", "epochs", "batch_size", "learning_rate", "teacher", "weights")
    found = (recipe.model.__name__, *(getattr(recipe, key) for key in keys))
    assert found == FROZEN_CHANGES.get((family, data_set), FROZEN[family])
    seed = 1 if family == "classifier2" else 0  # The second evaluator starts elsewhere.
    assert (recipe.seed, recipe.family, recipe.data_set) == (seed, family, data_set)
    assert recipe.conditional == (family in ("cvae", "cgan", "cddpm"))


def test_the_table_holds_every_recipe():
    assert set(FROZEN) == set(RECIPES)
    assert set(SHAPES) == set(DATA_SETS)
    assert set(FROZEN_CHANGES) == set(CHANGES)


def test_unknown_names_list_the_known_ones():
    for name in ("biggan", "vae", "vae_", "_mnist", "vae_mnist_", "vae_cifar", "mnist_vae", ""):
        with pytest.raises(ValueError, match=f"'{name}'; expected <family>_<data set>.*'vae'.*'mnist'"):
            get_recipe(name)


def test_every_name_finds_its_own_recipe():
    names = recipe_names()
    assert sorted(names) == sorted(f"{family}_{data_set}" for family, data_set in PAIRS)
    assert [get_recipe(name).name for name in names] == names


def test_recipes_of_two_data_sets_differ_in_the_data_set_alone():
    for family in RECIPES:
        mnist, fashion = get_recipe(f"{family}_mnist"), get_recipe(f"{family}_fashion_mnist")
        assert dataclasses.replace(mnist, data_set="fashion_mnist") == fashion


def test_recipes_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_recipe("vae_mnist").epochs = 1
    get_recipe("vae_mnist").arguments["latent_size"] = 1
    assert get_recipe("vae_mnist").arguments["latent_size"] == 32


def test_a_data_set_may_have_a_recipe_of_its_own(monkeypatch):
    monkeypatch.setitem(CHANGES, ("solver20", "mnist"), dataclasses.replace(RECIPES["solver20"], batch_size=5))
    assert (get_recipe("solver20_mnist").batch_size, get_recipe("solver20_fashion_mnist").batch_size) == (5, 64)
    assert get_recipe("solver20_mnist").name == "solver20_mnist"


def test_a_sampler_draws_with_the_weights_of_its_family():
    for data_set in SHAPES:
        assert get_recipe(f"solver20_{data_set}").weights_name == f"ddpm_{data_set}"
        assert get_recipe(f"student1_{data_set}").weights_name == f"student_{data_set}"
        assert get_recipe(f"ddpm_{data_set}").weights_name == f"ddpm_{data_set}"


def test_classifiers_and_conditional_models_take_labels():
    labelled = [family for family in RECIPES if get_recipe(f"{family}_mnist").labelled]
    assert labelled == list(LABELLED)
    assert get_recipe("cddpm_mnist").build().num_classes == 10
    assert get_recipe("ddpm_mnist").build().num_classes is None
    assert "cddpm_stacked_mnist" not in recipe_names()


@pytest.mark.parametrize("family", RECIPES)
def test_recipe_builds_its_model(family):
    recipe = get_recipe(f"{family}_mnist")
    model = recipe.build()
    assert type(model) is recipe.model
    assert model.image_shape == (28, 28, 1)
    assert model.seed == recipe.seed
    for key, value in recipe.arguments.items():
        assert model.get_config()[key] == value


@pytest.mark.slow
@pytest.mark.parametrize("name", ["_".join(key) for key in CHANGES] + ["classifier_cifar10", "vae_cifar10"])
def test_recipe_of_a_changed_family_builds_its_model(name):
    recipe = get_recipe(name)
    model = recipe.build()
    assert model.image_shape == SHAPES[recipe.data_set]
    for key, value in recipe.arguments.items():
        assert model.get_config()[key] == value


@pytest.mark.parametrize(("family", "num_steps"), [("solver20", 20), ("student2", 2), ("student1", 1)])
def test_every_sampler_is_one_of_its_model(family, num_steps):
    assert get_recipe(f"{family}_mnist").build().passes_per_image == num_steps


def test_a_recipe_builds_models_of_a_name_and_a_dtype():
    model = get_recipe("vae2_mnist").build(name="little", dtype="mixed_bfloat16")
    assert (model.name, model.dtype_policy.name) == ("little", "mixed_bfloat16")


def test_the_description_of_a_recipe_is_json():
    for name in recipe_names():
        described = get_recipe(name).describe()
        assert json.loads(json.dumps(described)).keys() == described.keys()
        assert described["model"] == get_recipe(name).model.__name__
        assert described.keys() == {field.name for field in dataclasses.fields(recipes.Recipe)}
