"""The figures results/*.png of README.md and RESULTS.md, from results/ and the weights that ship."""

from study import evidence
from trilemma import plotting
from trilemma.data import SAMPLE_DIR, get_data_set, load_images
from trilemma.evaluation import scoreboard
from trilemma.training.pretrained import load_pretrained

# What the overview calls a family -> its rows, in different numbers of passes; the first draws the images.
FAMILIES = {
    "VAE": ("vae",),
    "VAE with a fitted prior": ("mixture_vae",),
    "VAE-GAN, fitted prior": ("mixture_vae_gan",),
    "DCGAN": ("dcgan",),
    "DDGAN": ("ddgan",),
    "student of the DDPM": ("student",),
    "DDPM (images: 20 passes)": ("solver20", "ddpm"),
}
OVERVIEWS = {"mnist": "overview", "fashion_mnist": "overview_fashion_mnist"}  # data set -> name of the figure


def write():
    """Draws all figures anew."""
    for data_set in evidence.STUDIED:
        trilemma(data_set).savefig(f"results/trilemma_{data_set}.png", dpi=100)
        overview(data_set).savefig(f"results/{OVERVIEWS[data_set]}.png", dpi=200)


def trilemma(data_set):
    """The corners of every model of a data set."""
    models = (*evidence.MODELS, *evidence.FEW_PASSES)
    rows = evidence.recorded_rows(data_set, ("real", *models, "gaussian"))
    corners = {name: scoreboard.trilemma_corners(name, rows) for name in models}
    return plotting.plot_trilemma(corners, title=data_set)


def overview(data_set):
    """The Fréchet distance against passes, with the first images of the seed 0 of every family."""
    rows = evidence.recorded_rows(data_set, ("real", *sum(FAMILIES.values(), ())))
    families = {
        name: ([rows[member] for member in members], draw(members[0], data_set)) for name, members in FAMILIES.items()
    }
    real, _ = load_images(data_set, "test", SAMPLE_DIR)
    title = f"{get_data_set(data_set).title}: Fréchet distance of {evidence.NUM_IMAGES:,} images; at each point the "
    return plotting.plot_overview(families, (rows["real"], real[:5]), f"{title}first five of seed 0")


def draw(name, data_set):
    """Five images of a model, without a choice."""
    return load_pretrained(f"{name}_{data_set}").generate(5, seed=0)
