"""The claims of the article and its companions, and the defects of their code, each beside what was measured here.

A row's numbers are read from `results/`, and its verdict follows from conditions on them; only the reason is written
by hand.
"""

import dataclasses
import itertools
from collections.abc import Callable

from trilemma import data, records, scoreboard

MODELS = ("vae", "dcgan", "ddpm")
NUM_IMAGES = 1000  # of the scoreboard that the verdicts use
REACHED = 0.9  # from here on a corner of the trilemma counts as reached
ARTICLE_CORNERS = {"vae": {"coverage", "speed"}, "dcgan": {"quality", "speed"}, "ddpm": {"coverage", "quality"}}
SOURCES = {
    "article": "Cheigh, Generating Images Using VAEs, GANs, and Diffusion Models, May 2023",
    "report": "Amara, Image Generation Using Diffusion Models, Oklahoma State University, May 2023",
    "blog": "Enhancing Image Generation with Advanced Models",
    "survey": "Generative Models for Image Generation",
}


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        name: C1, ... of a claim, D1, ... of a defect of the article's code.
        source: who claims it, a key of `SOURCES`.
        text: what is claimed.
        measure: function () -> (numbers as text, parts). The parts map what must be true for the claim to hold to
            booleans: one for MNIST, or one for each data set.
        reason: why the verdict is what it is.
    """

    name: str
    source: str
    text: str
    measure: Callable
    reason: str

    def row(self):
        """The claim as a row of strings for `records.markdown_table`."""
        measured, parts = self.measure()
        answers = [f"{part}: {', '.join('yes' if holds else 'no' for holds in each)}" for part, each in parts.items()]
        return {
            "claim": f"{self.name} ({self.source}): {self.text}",
            "measured": measured,
            "conditions": "; ".join(answers),
            "verdict": verdict([holds for each in parts.values() for holds in each]),
            "why": self.reason,
        }


def verdict(conditions):
    """The verdict on a claim with these conditions (booleans); without any nobody has measured it."""
    if not conditions:
        return "not measured"
    return "holds" if all(conditions) else "holds in part" if any(conditions) else "does not hold"


def recorded_rows(data_set, names=("real", *MODELS, "gaussian")):
    """Rows of the recorded scoreboard: name without the data set -> row."""
    results = records.load_results(f"scoreboard_{NUM_IMAGES}")
    return {name: results[f"{name}_{data_set}"] for name in names}


def reached_corners(data_set):
    """Model -> the corners that it reaches: 0.9 of quality or coverage; a single pass per image is speed."""
    rows, reached = recorded_rows(data_set), {}
    for name in MODELS:
        corners = scoreboard.trilemma_corners(name, rows)
        reached[name] = {corner for corner in ("quality", "coverage") if corners[corner] >= REACHED}
        reached[name] |= {"speed"} if rows[name]["passes_per_image"] == 1 else set()
    return reached


def _on_both(measure):
    """Turns what measures one data set into what measures both."""

    def measure_both():
        texts, parts = zip(*(measure(data_set) for data_set in data.CLASS_NAMES), strict=True)
        text = "; ".join(f"{data_set}: {text}" for data_set, text in zip(data.CLASS_NAMES, texts, strict=True))
        return text, {part: [each[part] for each in parts] for part in parts[0]}

    return measure_both


@_on_both
def _latent_sizes(data_set):
    grid = [row for row in records.load_results("vae_grid").values() if row["data_set"] == data_set]
    distances = {(row["kl"], row["latent_size"]): row["frechet_distance"] for row in grid}
    best = min((size for kl, size in distances if kl == "summed"), key=lambda size: distances["summed", size])
    sizes = sorted({2, best, 100})
    summed, averaged = (", ".join(f"{distances[kl, size]:.0f}" for size in sizes) for kl in ("summed", "averaged"))
    text = f"Fréchet distance with {', '.join(map(str, sizes))} latents {summed}, with the KL averaged as published "
    text += f"{averaged} ({grid[0]['epochs']} epochs, n = {grid[0]['num_images']:,})"
    worse = distances["summed", 2] < distances["summed", 100]
    return text, {"the best lies in between": 2 < best < 100, "100 are worse than 2": worse}


@_on_both
def _latent_plane(data_set):
    plane, rows = records.load_results("claims")[f"C2_{data_set}"], recorded_rows(data_set, ("real", "vae2"))
    recall, real_recall = rows["vae2"]["recall"], rows["real"]["recall"]
    step = plane["largest_step_over_random_pairs"]
    text = f"largest step between neighbours on a grid of {plane['num_images']} {step:.2f} of the distance of "
    text += f"random pairs, classes {plane['classes_covered']} of 10; recall {recall:.2f} (real {real_recall:.2f})"
    diverse = recall >= REACHED * real_recall
    return text, {"continuous": step < 1, "every class": plane["classes_covered"] == 10, "diverse": diverse}


@_on_both
def _sharpness(data_set):
    row, passes = records.load_results("claims")[f"C3_{data_set}"], recorded_rows(data_set)["dcgan"]
    text = f"squared difference of neighbouring pixels over that of real images: VAE {row['vae']:.2f}, "
    text += f"DCGAN {row['dcgan']:.2f} (n = {row['num_images']})"
    closer = abs(row["dcgan"] - 1) < abs(row["vae"] - 1)
    return text, {"closer to real": closer, "one pass": passes["passes_per_image"] == 1}


def _collapse():
    rows = recorded_rows("mnist", ("real", "dcgan", "dcgan2"))
    rows["dcgan2 after epoch 1"] = records.load_results("claims")["C4_mnist"]
    text = "recall, coverage: " + ", ".join(
        f"{name} {row['recall']:.2f}, {row['coverage']:.2f}" for name, row in rows.items()
    )
    real, full, small, first = rows.values()
    return text, {
        "100 latents miss modes": [full["recall"] < REACHED * real["recall"]],
        "2 latents miss modes": [small["recall"] < REACHED * real["recall"]],
        "most after epoch 1": [first["coverage"] < small["coverage"]],
    }


@_on_both
def _diffusion(data_set):
    rows, corners = recorded_rows(data_set), reached_corners(data_set)["ddpm"]
    losses = [epoch["loss"] for epoch in records.load_results("training")[f"ddpm_{data_set}"]["history"]]
    rise = max(after / before - 1 for before, after in itertools.pairwise(losses))
    values, ddpm = scoreboard.trilemma_corners("ddpm", rows), rows["ddpm"]
    text = f"quality {values['quality']:.2f}, coverage {values['coverage']:.2f}; largest rise of the loss "
    text += f"in {len(losses)} epochs {max(rise, 0):.1%}; {ddpm['training_minutes']:.0f} minutes of training; "
    text += f"{ddpm['images_per_second']:.1f} images/s"
    others = [rows[name] for name in ("vae", "dcgan")]
    return text, {
        "quality": "quality" in corners,
        "coverage": "coverage" in corners,
        "no rise above 1 %": rise < 0.01,
        "slow training": ddpm["training_minutes"] > max(row["training_minutes"] for row in others),
        "slow sampling": 100 * ddpm["images_per_second"] < min(row["images_per_second"] for row in others),
    }


@_on_both
def _noise_and_denoise(data_set):
    row = records.load_results("claims")[f"C7_{data_set}"]
    shares = {start: row["same_class"][str(start)] for start in sorted(map(int, row["same_class"]))}
    kept = ", ".join(f"{share:.0%} from t = {start}" for start, share in shares.items())
    text = f"images that keep their class: {kept} (n = {row['num_images']})"
    return text, {"most change from the end": shares[max(shares)] < 0.5}


@_on_both
def _corners(data_set):
    reached = reached_corners(data_set)
    text = "reached: " + ", ".join(
        f"{name} {' and '.join(sorted(corners)) or 'none'}" for name, corners in reached.items()
    )
    return text, {name: reached[name] == ARTICLE_CORNERS[name] for name in MODELS}


def _published_numbers():
    bound = records.load_results("likelihood")["vae_mnist_1"]
    flat = -records.load_results("training")["vae2_mnist"]["history"][-1]["loss"]
    row = recorded_rows("mnist")["dcgan"]
    text = f"ELBO {flat:.1f} nats with 2 latents (training images), {bound['nats']:.1f} with {bound['latent_size']} "
    text += f"(n = {bound['num_images']:,}); Fréchet distance of the DCGAN {row['frechet_distance']:.1f}"
    return text, {
        "ELBO with 2 latents within 5 nats": [abs(flat + 157.4) < 5],
        "ELBO with more within 5 nats": [abs(bound["nats"] + 157.4) < 5],
    }


@_on_both
def _tables(data_set):
    rows, (other,) = recorded_rows(data_set), set(data.CLASS_NAMES) - {data_set}
    last = records.load_results("training")[f"dcgan_{data_set}"]["history"][-1]
    bounds = records.load_results("claims")[f"C17_{data_set}"]["elbo_from"]
    text = "parameters " + ", ".join(f"{name} {rows[name]['parameters'] / 1e6:.1f} M" for name in MODELS)
    text += f"; the discriminator takes {last['real_called_real']:.0%} of the real and "
    text += f"{last['generated_called_real']:.0%} of the generated images for real; ELBO of the VAE after an epoch "
    text += f"from new weights {bounds['new']:.0f}, from those of {other} {bounds[other]:.0f} nats"
    return text, {"transfer helps": bounds[other] > bounds["new"]}


def _fashion():
    rows = recorded_rows("fashion_mnist")
    limit = rows["gaussian"]["frechet_distance"] / 2
    parts = {f"{name} halves the floor": [rows[name]["frechet_distance"] < limit] for name in MODELS}
    distances = ", ".join(f"{name} {row['frechet_distance']:.1f}" for name, row in rows.items())
    return f"Fréchet distance: {distances} (n = {rows['vae']['num_images']:,})", parts


def _compare(published, repaired):
    text = f"Fréchet distance {published['frechet_distance']:.0f} as published, {repaired['frechet_distance']:.0f} "
    text += f"repaired; recall {published['recall']:.2f} and {repaired['recall']:.2f} "
    text += f"({published['epochs']} epochs, n = {published['num_images']:,})"
    return text, {"a fifth worse or more": [published["frechet_distance"] > 1.2 * repaired["frechet_distance"]]}


def _averaged_kl():
    grid = records.load_results("vae_grid")
    return _compare(grid["mnist_100_averaged"], grid["mnist_100_summed"])


def _sampling_loop():
    results = records.load_results("speed")
    (key,) = (key for key in results if key.startswith("ddpm_mnist, article, CPU"))
    published, ours = results[key]["seconds_per_image"], results[key.replace("article", "float32")]
    compiled = 1 / max(ours["images_per_second"].values())
    text = f"the same network, seconds per image: {published:.1f} as published, {compiled:.2f} compiled, in batches"
    return text, {"ten times slower or more": [published > 10 * compiled]}


CLAIMS = (
    Claim(
        "C1", "article", "a VAE is good with 2 latents, not that good with 100, best in between", _latent_sizes,
        "The failure at 100 is the averaged KL (D1). Summed, 100 latents beat 2 clearly, and on Fashion-MNIST every "
        "other size tried: a VAE leaves latents that it does not need at the prior.",
    ),
    Claim(
        "C2", "article", "the plane of two latents is diverse, complete and continuous", _latent_plane,
        "Neighbours resemble each other everywhere, but two numbers are too few for ten classes in all their styles.",
    ),
    Claim(
        "C3", "article", "DCGAN samples are less blurry than the VAE's, and one pass draws one", _sharpness,
        "A decoder that is unsure answers grey; a discriminator sees that grey at once.",
    ),
    Claim(
        "C4", "article", "a DCGAN suffers mode collapse, most of all with 2 latents after epoch 1", _collapse,
        "With 100 latents recall is nearly that of real images, though the stricter coverage finds many modes thin; "
        "with 2 the generator paints a sheet that misses almost every real image, thinnest after epoch 1.",
    ),
    Claim(
        "C5", "article", "DDPM: high quality, diverse, stable but slow training, slow sampling", _diffusion,
        "One regression loss, no opponent: it falls steadily. Every image costs 200 passes.",
    ),
    Claim(
        "C7", "article", "a noised and denoised image need not resemble the original", _noise_and_denoise,
        "From the last timestep nothing is left to resemble, and one class in ten is kept by chance; the noise of "
        "the first timesteps keeps most classes.",
    ),
    Claim(
        "C9", "article", "VAE: fast and covering; DCGAN: fast and sharp; DDPM: sharp and covering", _corners,
        "The DDPM is as the article says. The DCGAN's odd shapes cost it quality; the VAE covers digits, but not "
        "clothes, whose textures it blurs.",
    ),
    Claim(
        "C13", "report", "on MNIST the ELBO of a VAE is -157.4 nats and the FID of a GAN 175.0", _published_numbers,
        "The ELBO is what two latents reach, and says more about their number than about VAEs. An FID from Inception "
        "features cannot be compared with our distance; it is not part of the verdict.",
    ),
    Claim(
        "C17", "survey", "tables of parameters and judgements; training transfers between data sets", _tables,
        "A few strokes are common to digits and clothes: an epoch from another data set's weights goes further than "
        "one from new weights. The discriminator is right about four images of five or fewer.",
    ),
    Claim(
        "C18", "blog", "all of it works on Fashion-MNIST too", _fashion,
        "The same recipes, unchanged; the order of the three models stays the same.",
    ),
    Claim(
        "C19", "article", "a person takes generated images for real", lambda: ("no person has played", {}),
        "The game above is ready, and it recovers the error rates of simulated players; it needs persons.",
    ),
    Claim(
        "D1", "article", "the KL averaged over 100 latents costs quality", _averaged_kl,
        "A hundredth of the penalty lets the encoder leave the prior, from which the decoder then has to draw.",
    ),
    Claim(
        "D9", "article", "images sampled one by one, in a Python loop, are slow", _sampling_loop,
        "An eager network pays for every layer of every step; one compiled loop over a batch shares the cost.",
    ),
)  # fmt: skip
