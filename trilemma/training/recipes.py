"""How every model is trained and drawn from, as data: the one place where names of models are looked up."""

import dataclasses
import inspect

from trilemma.data import DATA_SETS, get_data_set
from trilemma.models.classifier import Classifier
from trilemma.models.contract import GenerativeModel
from trilemma.models.dcgan import DCGAN
from trilemma.models.ddgan import DDGAN
from trilemma.models.ddpm import DDPM
from trilemma.models.gan import GAN
from trilemma.models.mixture_vae import MixtureVAE, MixtureVAEGAN
from trilemma.models.pixelcnn import PixelCNN
from trilemma.models.student import Student
from trilemma.models.vae import VAE
from trilemma.models.vae_gan import VAEGAN


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one family of models is trained and drawn from, on a data set.

    Attributes:
        model: class of the model; it gets the data set's image_shape, and num_classes if it takes them.
        arguments: other keyword arguments of the constructor.
        conditional: train it on labels, though its class draws without them too.
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: for the model's `default_optimizers`.
        teacher: family whose weights for this data set it is to `learn_from`.
        weights: family whose weights it draws with, by another sampler; None for its own.
        seed: for initial weights, the order of the images, noise.
        family, data_set: of which registry entry and data set; `get_recipe` fills them in.
    """

    model: type
    arguments: dict = dataclasses.field(default_factory=dict)
    conditional: bool = False
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 1e-3
    teacher: str | None = None
    weights: str | None = None
    seed: int = 0
    family: str = ""
    data_set: str = ""

    @property
    def name(self):
        """What `load_pretrained` and the command line call it."""
        return f"{self.family}_{self.data_set}"

    @property
    def weights_name(self):
        """The name of the weights file that it draws with."""
        return f"{self.weights or self.family}_{self.data_set}"

    @property
    def teacher_name(self):
        """The name of the weights that it is to learn from; None without a teacher."""
        return None if self.teacher is None else f"{self.teacher}_{self.data_set}"

    @property
    def weights_files(self):
        """The names of all weights files that it draws with: its teacher's too if its model leaves networks to it."""
        return [self.weights_name, *([self.teacher_name] if self.model.networks_of_teacher else [])]

    @property
    def labelled(self):
        """Whether it is trained on images and labels."""
        parameter = inspect.signature(self.model).parameters.get("num_classes")
        return parameter is not None and (self.conditional or parameter.default is not None)

    @property
    def draws(self):
        """Whether its model draws images."""
        return issubclass(self.model, GenerativeModel)

    def build(self, **kwargs):
        """Builds the untrained model; `kwargs` are the name and dtype of a Keras model."""
        data_set = get_data_set(self.data_set)
        classes = {"num_classes": data_set.num_classes} if self.labelled else {}
        arguments = {"image_shape": data_set.image_shape, **classes, **self.arguments, "seed": self.seed}
        return self.model(**arguments, **kwargs)

    def describe(self):
        """The recipe as values that JSON holds, for the record of a training."""
        return {**dataclasses.asdict(self), "model": self.model.__name__}


_VAE = Recipe(VAE, dict(latent_size=32), epochs=60)
_DCGAN = Recipe(DCGAN, epochs=6, batch_size=64, learning_rate=2e-4)
_GAN = Recipe(GAN, epochs=70, learning_rate=2e-4)
_DDPM = Recipe(DDPM, epochs=18, batch_size=64)
_SOLVER20 = dict(name="dpm_solver", num_steps=20, power=0.8, eta=1.0)
# Each kind of step learns from the average of the next shorter one; a slow average would delay the longest one most.
_STUDENT = Recipe(Student, dict(ema_decay=0.99), teacher="ddpm", epochs=12, batch_size=64)


def _with(recipe, **arguments):
    """A recipe of its own, with these arguments besides those that it has."""
    return dataclasses.replace(recipe, arguments={**recipe.arguments, **arguments})


def _drawn(family, recipe, **arguments):
    """The recipe of what draws with the weights of a family."""
    return dataclasses.replace(_with(recipe, **arguments), weights=family)


def _fitted(model, teacher, **arguments):
    """The recipe of a prior that is fitted to the codes of a family."""
    return Recipe(model, arguments, teacher=teacher, epochs=20, batch_size=256, learning_rate=5e-3)


RECIPES = {
    "classifier": Recipe(Classifier, epochs=10, learning_rate=2e-3),
    # The second evaluator: what two networks agree on does not depend on the features of one.
    "classifier2": Recipe(Classifier, dict(architecture="residual"), epochs=10, seed=1),
    "vae2": Recipe(VAE, dict(latent_size=2), epochs=6),
    "vae": _VAE,
    "cvae": dataclasses.replace(_VAE, conditional=True),
    "mixture_vae": _fitted(MixtureVAE, "vae", latent_size=32),
    "dcgan": _DCGAN,
    # Longer, faster, and drawn with the average of its weights, which the article's does not have.
    "dcgan_averaged": dataclasses.replace(_with(_DCGAN, ema_decay=0.999, averaged=True), epochs=50, learning_rate=4e-4),
    "dcgan2": dataclasses.replace(_DCGAN, arguments=dict(latent_size=2)),
    # A quarter of the discriminator, as in Metz et al. 2017, where it collapsed; ours only loses modes. It takes more
    # to collapse: no batch normalisation either.
    "dcgan_quarter": dataclasses.replace(_DCGAN, arguments=dict(discriminator_width=16)),
    "dcgan_crippled": dataclasses.replace(_DCGAN, arguments=dict(discriminator_width=16, batch_normalization=False)),
    "gan": _GAN,
    "cgan": dataclasses.replace(_GAN, conditional=True),
    # The loss of the GAN in the networks of the DCGAN: what is owed to the loss alone.
    "gan_dcgan": dataclasses.replace(
        _GAN, arguments=dict(architecture="dcgan", latent_size=100), epochs=60, batch_size=64
    ),
    "ddpm": _DDPM,
    "solver20": _drawn("ddpm", _DDPM, sampler=_SOLVER20),
    # With labels, and by the sampler of solver20, so that the two differ in the labels alone.
    "cddpm": dataclasses.replace(_with(_DDPM, sampler=_SOLVER20), conditional=True),
    "student": _STUDENT,
    "student2": _drawn("student", _STUDENT, sampler=dict(num_steps=2)),
    "student1": _drawn("student", _STUDENT, sampler=dict(num_steps=1)),
    "ddgan": Recipe(DDGAN, epochs=60, batch_size=256, learning_rate=2e-4),
    # The hybrid, and the VAE that it is compared with: one decoder, the generator of dcgan_averaged, and
    # about as long a training on two cores.
    "vae_gan": Recipe(VAEGAN, epochs=21, batch_size=64, learning_rate=4e-4),
    "vae_dcgan": Recipe(VAE, dict(architecture="dcgan", latent_size=32), epochs=60, batch_size=64),
    "mixture_vae_gan": _fitted(MixtureVAEGAN, "vae_gan"),
    "mixture_vae_dcgan": _fitted(MixtureVAE, "vae_dcgan", architecture="dcgan", latent_size=32),
    "pixelcnn": Recipe(
        PixelCNN,
        dict(levels=256, width=32, embedding_size=16, head_width=128, vertical_residual=True),
        epochs=12,
        batch_size=64,
        learning_rate=3e-3,
    ),
    "pixelcnn_binary": Recipe(PixelCNN, dict(levels=2, width=32), epochs=15, batch_size=64),
}
# The recipe of a family on one data set where it is another one.
CHANGES = {
    ("ddpm", "stacked_mnist"): _with(_DDPM, num_timesteps=100),
    ("solver20", "stacked_mnist"): _with(RECIPES["solver20"], num_timesteps=100),
    # From x_3 to x_2 it is decided which digits come, yet noise hides much of what a discriminator could say of it: so
    # more pairs of long steps, a wider discriminator, and one that sees whole batches. The weights that ship were saved
    # after 75 of the epochs; then the time on the GPU was over.
    ("ddgan", "stacked_mnist"): dataclasses.replace(
        _with(
            RECIPES["ddgan"],
            discriminator_width=128, minibatch_deviation=True, training_timesteps=(1, 2, 2, 3, 3, 3, 4, 4),
        ),
        epochs=125,
    ),
}  # fmt: skip


def _recipe(family, data_set):
    return CHANGES.get((family, data_set), RECIPES[family])


def _all_names():
    """Name -> (family, data set), of every family on every data set that has the labels it needs."""
    return {
        f"{family}_{data_set}": (family, data_set)
        for family in RECIPES
        for data_set, entry in DATA_SETS.items()
        if entry.num_classes or not _recipe(family, data_set).labelled
    }


def recipe_names():
    """The names that `get_recipe` knows."""
    return list(_all_names())


def get_recipe(name):
    """Looks a recipe up by name, "<family>_<data set>".

    Raises:
        ValueError: unknown name; the message lists the known families and data sets.
    """
    if name not in _all_names():
        raise ValueError(
            f"unknown model {name!r}; expected <family>_<data set>, of {sorted(RECIPES)} and {sorted(DATA_SETS)}."
        )
    family, data_set = _all_names()[name]
    return dataclasses.replace(_with(_recipe(family, data_set)), family=family, data_set=data_set)
