"""Measures what single claims of the article say, with the shipped weights; writes results/claims.json.

python benchmarks/claims.py C2 C3 C4 C7 C17

C2: the plane of two latents is diverse, complete, continuous. C3: sharpness. C4: a DCGAN with two latents after its
first epoch. C7: what survives noising and denoising. C17: does training start better from another data set's weights?
"""

import dataclasses
import functools
import itertools
import pathlib
import sys

import keras
import numpy as np

from study.evidence import STUDIED
from trilemma import backend, data, plotting
from trilemma.diffusion import samplers, schedules
from trilemma.evaluation import metrics, scoreboard
from trilemma.noise import standard_normal
from trilemma.records import environment, update_results
from trilemma.training import pretrained, recipes
from trilemma.training.train import discard_checkpoint, train


def latent_plane(data_set, size=20):
    """C2: the images on a grid of normal quantiles, and how much they differ from one grid point to the next."""
    decoder = pretrained.load_pretrained(f"vae2_{data_set}").decoder
    images = keras.ops.convert_to_numpy(keras.ops.sigmoid(decoder(plotting.quantile_grid(size))))
    grid = images.reshape(size, size, *images.shape[1:])
    steps = [np.diff(grid, axis=axis).reshape(-1, images[0].size) for axis in (0, 1)]
    steps = np.linalg.norm(np.concatenate(steps), axis=1)
    others = np.random.default_rng(0).permutation(images)
    random_pairs = float(np.linalg.norm((images - others).reshape(len(images), -1), axis=1).mean())
    scores = scoreboard.score_images(images, data_set)
    return {
        "num_images": len(images),
        "neighbours_over_random_pairs": float(steps.mean()) / random_pairs,
        "largest_step_over_random_pairs": float(steps.max()) / random_pairs,
        **{key: scores[key] for key in ("classes_covered", "class_kl", "precision", "recall")},
    }


def sharpness(data_set, num_images=200):
    """C3: the mean squared difference of neighbouring pixels, over that of real test images."""
    real = metrics.sharpness(data.load_images(data_set, "test")[0])
    models = {name: pretrained.load_pretrained(f"{name}_{data_set}") for name in ("vae", "dcgan", "ddpm")}
    generated = {name: metrics.sharpness(model.generate(num_images, seed=0)) for name, model in models.items()}
    return {"num_images": num_images, "seed": 0, **{name: value / real for name, value in generated.items()}}


def first_epoch(data_set, num_images=1000):
    """C4: scores of a DCGAN with two latents after one epoch."""
    recipe = dataclasses.replace(recipes.get_recipe(f"dcgan2_{data_set}"), epochs=1)
    folder = pathlib.Path("build/claims") / f"dcgan2_{data_set}"
    model, _ = train(recipe, folder, verbose=2)
    scores = scoreboard.score_images(model.generate(num_images, seed=0), data_set)
    discard_checkpoint(folder)
    return {"num_images": num_images, "seed": 0, "epochs": 1, **scores}


def noise_and_denoise(data_set, num_images=200):
    """C7: the share of training images that keep their class, and their mean squared error, against the timestep."""
    model = pretrained.load_pretrained(f"ddpm_{data_set}")
    classifier = pretrained.load_pretrained(f"classifier_{data_set}")
    images = data.as_float(data.load_images(data_set)[0][:num_images])
    _, labels = classifier.embed(images)

    draw = functools.partial(standard_normal, 0, np.arange(num_images), shape=model.image_shape)

    def predict_noise(noisy_images, timesteps):
        return model([noisy_images, timesteps])

    def denoise(noisy_images, start):
        # Draw 0 is the noise of the noisy images.
        return samplers.ddpm_sample(predict_noise, model.schedule, noisy_images, lambda step: draw(step + 1), start)

    denoise = backend.compile_function(denoise, model.variables, jit_compile=False)
    same_class, error = {}, {}
    for start in (40, 80, 120, 160, 199):
        noisy_images = schedules.q_sample(model.schedule, 2 * images - 1, np.full(num_images, start), draw(0))
        denoised = keras.ops.convert_to_numpy(denoise(noisy_images, keras.ops.convert_to_tensor(start, "int32")))
        denoised = np.clip((denoised + 1) / 2, 0, 1)
        same_class[str(start)] = float(np.mean(classifier.embed(denoised)[1] == labels))
        error[str(start)] = float(np.mean((denoised - images) ** 2))
    others = np.random.default_rng(0).permutation(images)
    different = float(np.mean((others - images) ** 2))
    row = {"num_images": num_images, "seed": 0, "same_class": same_class, "mean_squared_error": error}
    return {**row, "mean_squared_error_of_random_pairs": different}


def transfer(data_set, seeds=(0, 1, 2)):
    """C17: the bound on the test images after one epoch, from new weights and from those of the other data set.

    A seed is that of the new weights, of the noise of both trainings and of the order of their images.
    """
    (other,) = set(STUDIED) - {data_set}
    recipe = recipes.get_recipe(f"vae_{data_set}")
    images, test_images = data.load_images(data_set)[0], data.load_images(data_set, "test")[0]
    test = data.make_dataset(test_images, shuffle=False, drop_remainder=False)
    bounds = {"new": [], other: []}
    for seed, start in itertools.product(seeds, bounds):
        keras.utils.set_random_seed(seed)
        model = dataclasses.replace(recipe, seed=seed).build()
        if start == other:
            model.set_weights(pretrained.load_pretrained(f"vae_{other}").get_weights())
        batches = data.make_dataset(images, batch_size=recipe.batch_size, seed=seed)
        model.compile(model.default_optimizers(recipe.learning_rate, len(batches)))
        model.fit(batches, verbose=2)
        bounds[start].append(-model.evaluate(test, verbose=0, return_dict=True)["loss"])
    return {"num_images": len(test_images), "epochs": 1, "seeds": list(seeds), "elbo_from": bounds}


CLAIMS = {"C2": latent_plane, "C3": sharpness, "C4": first_epoch, "C7": noise_and_denoise, "C17": transfer}


def main():
    """Measures the claims that the command line names, on both data sets."""
    for claim in sys.argv[1:]:
        if claim not in CLAIMS:
            raise ValueError(f"unknown claim {claim!r}; expected some of {sorted(CLAIMS)}.")
        for data_set in STUDIED:
            row = {"command": f"python benchmarks/claims.py {claim}", **CLAIMS[claim](data_set), **environment()}
            update_results("claims", {f"{claim}_{data_set}": row})
            print(claim, data_set, row, flush=True)


if __name__ == "__main__":
    main()
