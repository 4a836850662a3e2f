"""Trains diffusion models where JAX is at hand, yet TensorFlow is not.

python benchmarks/jax_training.py student_mnist ddgan_mnist  # writes what `python -m trilemma train` writes
python benchmarks/jax_training.py ddgan_1_timestep           # writes what benchmarks/ablations.py writes

Networks, losses, optimizers, schedules, averages and samplers are the package's own, which Keras runs on JAX too. Here
is what the package asks TensorFlow for: gradients, the order of the images, loops and random numbers in them. Nothing
else needs JAX, so the requirements leave it out.
"""

import functools
import os
import pathlib
import sys
import time
import warnings
from unittest import mock

os.environ["KERAS_BACKEND"] = "jax"
import jax
import keras
import numpy as np
from keras import ops

# The package insists on TensorFlow; what it calls of it is replaced below.
sys.modules["tensorflow"] = mock.MagicMock()
with mock.patch.object(keras.backend, "backend", lambda: "tensorflow"):
    import ablations

    from trilemma import data, ddgan, device, distillation, generative, pretrained, recipes, records, samplers
del sys.modules["tensorflow"]


SAVE_EVERY = 25  # epochs


class _StaticOps:
    """`keras.ops` for code that computes with the size of a batch, which JAX needs as a plain number."""

    maximum, minimum = staticmethod(max), staticmethod(min)

    def __getattr__(self, name):
        return getattr(ops, name)


def players_of(model):
    """The losses that training descends -> (network, its optimizer), and the pair (average, network)."""
    if not hasattr(model, "discriminator"):
        return {"loss": (model.network, model.optimizer)}, (model.ema_network, model.network)
    players = {
        "generator_loss": (model.generator, model.optimizer),
        "discriminator_loss": (model.discriminator, model.discriminator_optimizer),
    }
    return players, (model.ema_generator, model.generator)


def all_variables(model):
    """Weights, averages, optimizers' states and the state of the random numbers, each once."""
    players, _ = players_of(model)
    for network, optimizer in players.values():
        if not optimizer.built:
            optimizer.build(network.trainable_variables)
    variables = [*model.variables, *(variable for _, optimizer in players.values() for variable in optimizer.variables)]
    return list({id(variable): variable for variable in variables}.values())


def make_epoch(model, variables):
    """The model's training steps over all images in a given order, as one compiled function.

    Returns:
        Function (values of the variables, images, order (num_steps, batch_size)) -> new values, mean losses.
    """
    players, averaged = players_of(model)
    descended = {name: network.trainable_variables for name, (network, _) in players.items()}

    def step(values, images):
        before = list(zip(variables, values, strict=True))

        def losses_of(weights):
            given = [pair for name in players for pair in zip(descended[name], weights[name], strict=True)]
            with keras.StatelessScope([*before, *given]) as scope:
                losses = model.compute_losses(images, training=True)
            after = [scope.get_current_value(variable) for variable in variables]
            return {name: losses[name] for name in players}, (losses, after)

        with keras.StatelessScope(before) as scope:
            weights = {name: [variable.value for variable in each] for name, each in descended.items()}
            targets, pull_back, (losses, after) = jax.vjp(losses_of, weights, has_aux=True)
            for variable, value in zip(variables, after, strict=True):  # The random numbers go on.
                variable.assign(value)
            for name, (_, optimizer) in players.items():
                (gradients,) = pull_back({target: np.float32(target == name) for target in targets})
                optimizer.apply(gradients[name], descended[name])
            model.update_average(*averaged)
        return [scope.get_current_value(variable) for variable in variables], losses

    @functools.partial(jax.jit, donate_argnums=0)
    def epoch(values, images, order):
        values, losses = jax.lax.scan(lambda values, chosen: step(values, images[chosen]), values, order)
        return values, {name: ops.mean(each) for name, each in losses.items()}

    return epoch


def train(recipe, folder, verbose=None, save=None):
    """`recipes.train`, without checkpoints; calls save(model, history) every `SAVE_EVERY` epochs and after the last."""
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(recipe.seed)
    images = jax.device_put(data.load_images(recipe.data_set)[0])
    num_steps = len(images) // recipe.batch_size
    model = recipe.prepare(recipe.epochs * num_steps)
    variables = all_variables(model)
    run_epoch, random, history = make_epoch(model, variables), np.random.default_rng(recipe.seed), []
    for number in range(1, recipe.epochs + 1):
        start = time.perf_counter()
        order = random.permutation(len(images))[: num_steps * recipe.batch_size].reshape(num_steps, -1)
        values, losses = run_epoch([variable.value for variable in variables], images, order.astype("int32"))
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        losses = {name: float(value) for name, value in losses.items()}
        history.append({"epoch": number, **losses, "seconds": time.perf_counter() - start})
        np.save(folder / f"epoch_{number:03d}.npy", np.round(model.generate(10) * 255).astype("uint8"))
        print(recipe.model, recipe.data_set, history[-1], flush=True)
        if save is not None and (number % SAVE_EVERY == 0 or number == recipe.epochs):
            save(model, history)
    return model, history


def make_sample(model, batch_size):
    """`model.sample` as a compiled function: (values of the model's variables, state) -> images, new state."""
    variables, state = model.variables, model.seed_generator.state

    @jax.jit
    def sample(values, start):
        given = [*zip(variables, values, strict=True), (state, start)]

        def fori_loop(lower, upper, body, initial):
            """Hands the state of the random numbers from step to step, which a loop of JAX does not do by itself."""

            def step(i, carried):
                with keras.StatelessScope([*given, (state, carried[0])]) as inner:
                    value = body(i, carried[1])
                return inner.get_current_value(state), value

            end, value = jax.lax.fori_loop(lower, upper, step, (state.value, initial))
            state.assign(end)
            return value

        with keras.StatelessScope(given) as scope, mock.patch.object(samplers.ops, "fori_loop", fori_loop):
            images = model.sample(batch_size)
        return images, scope.get_current_value(state)

    return sample


def generate(model, num_images, seed=0, batch_size=100, progress=False):
    """`GenerativeModel.generate`, without a progress bar; from a seed come other numbers than on TensorFlow."""
    batch_size = min(batch_size, num_images)
    model._compiled_sample = model._compiled_sample or {}
    if batch_size not in model._compiled_sample:
        model._compiled_sample[batch_size] = make_sample(model, batch_size)
    values, state, batches = [variable.value for variable in model.variables], np.array([seed, 0], "uint32"), []
    for _ in range(-(-num_images // batch_size)):
        images, state = model._compiled_sample[batch_size](values, state)
        batches.append(np.asarray(images))
    return np.concatenate(batches)[:num_images]


distillation.ops = _StaticOps()
ddgan._input_gradients = lambda function, inputs: jax.grad(lambda x: ops.sum(function(x)))(inputs)
device.ReplicaSeedGenerator.next = keras.random.SeedGenerator.next
device.device_name = lambda: jax.devices()[0].device_kind
generative.GenerativeModel.generate = generate
recipes.train = train


def train_and_save(name):
    """Trains a recipe; what was saved last outlives an interruption."""
    folder = pathlib.Path("build/checkpoints") / name

    def save(model, history):
        minutes = round(sum(epoch["seconds"] for epoch in history) / 60, 1)
        record = {
            "command": f"python benchmarks/jax_training.py {name}",
            "minutes": minutes,
            "device": device.device_name(),
        }
        pretrained.save_pretrained(name, model, **record)
        records.save_epoch_samples(name, folder)
        versions = {"jax": jax.__version__, "keras": keras.__version__}
        records.update_results("training", {name: {**record, "history": history, **versions}})

    train(recipes.get_recipe(name), folder, save=save)


def main():
    """Trains the recipes and runs the ablations that the command line names."""
    warnings.simplefilter("error", data.SampleWarning)  # Weights that ship are trained on all images.
    for name in sys.argv[1:]:
        if name in ablations.ABLATIONS:
            row = ablations.run(name, pathlib.Path("build/ablations") / name)
            row |= {"command": f"python benchmarks/jax_training.py {name}", "jax": jax.__version__}
            records.update_results("ablations", {name: {**row, "keras": keras.__version__}})
        else:
            train_and_save(name)


if __name__ == "__main__":
    main()
