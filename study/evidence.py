"""The evidence on each claim: one function per row of `claims.CLAIMS`, on the numbers in `results/`.

Each returns the numbers as text, and parts: a dict that maps what must be true for the claim to hold to booleans, one
for MNIST, or one for each data set.
"""

import itertools
import statistics

from trilemma import records
from trilemma.evaluation import scoreboard

MODELS = ("vae", "dcgan", "ddpm")
FEW_PASSES = ("solver20", "ddgan", "student")  # ways to draw by diffusion in fewer passes
NUM_IMAGES = 1000  # of the scoreboard that the verdicts use; 10,000 would take the DDPM with its 200 passes hours
DEVICE = "CPU, 2 cores, AMD EPYC (AVX2)"  # of the speeds: one machine for all models
STUDIED = ("mnist", "fashion_mnist")  # the data sets on which every claim is measured
REACHED = 0.9  # from here on a corner of the trilemma counts as reached
ARTICLE_CORNERS = {"vae": {"coverage", "speed"}, "dcgan": {"quality", "speed"}, "ddpm": {"coverage", "quality"}}


def recorded_rows(data_set, names=("real", *MODELS, "gaussian"), num_images=NUM_IMAGES):
    """Rows of the recorded scoreboard: name without the data set -> row, with the recorded speed in batches of 100.

    What was not measured on the machine of the speeds has none.
    """
    results, speeds, rows = records.load_results(f"scoreboard_{num_images}"), records.load_results("speed"), {}
    for name in names:
        rows[name], speed = dict(results[f"{name}_{data_set}"]), speeds.get(f"{name}_mnist, float32, {DEVICE}")
        if speed is not None:
            rows[name]["images_per_second"] = speed["images_per_second"]["100"]
    return rows


def recorded_speed(name, how="float32"):
    """What benchmarks/speed.py measured of a model of MNIST; the networks of Fashion-MNIST are the same."""
    return records.load_results("speed")[f"{name}_mnist, {how}, {DEVICE}"]


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
        texts, parts = zip(*(measure(data_set) for data_set in STUDIED), strict=True)
        text = "; ".join(f"{data_set}: {text}" for data_set, text in zip(STUDIED, texts, strict=True))
        return text, {part: [each[part] for each in parts] for part in parts[0]}

    return measure_both


def _pair(one, other, first, second):
    text = f"Fréchet distance {one['frechet_distance']:.0f} {first}, {other['frechet_distance']:.0f} {second}; "
    text += f"precision {one['precision']:.2f} and {other['precision']:.2f}, recall {one['recall']:.2f} and "
    return text + f"{other['recall']:.2f} ({one['epochs']} epochs, n = {one['num_images']:,}, one seed)"


def _clearly_nearer(one, other):
    """Whether the Fréchet distance is smaller by more than the spreads of both rows together."""
    gap = other["frechet_distance"] - one["frechet_distance"]
    return gap > one["spread"]["frechet_distance"] + other["spread"]["frechet_distance"]


@_on_both
def latent_sizes(data_set):
    """C1: the distances of a grid of latent sizes."""
    grid = [row for row in records.load_results("vae_grid").values() if row["data_set"] == data_set]
    distances = {(row["kl"], row["latent_size"]): row["frechet_distance"] for row in grid}
    best = min((size for kl, size in distances if kl == "summed"), key=lambda size: distances["summed", size])
    sizes = sorted({2, best, 100})
    summed, averaged = (", ".join(f"{distances[kl, size]:.0f}" for size in sizes) for kl in ("summed", "averaged"))
    text = f"Fréchet distance with {', '.join(map(str, sizes))} latents {summed}, with the KL averaged as published "
    text += f"{averaged} ({grid[0]['epochs']} epochs, n = {grid[0]['num_images']:,})"
    two, hundred = distances["summed", 2], distances["summed", 100]
    good = two <= 1.2 * distances["summed", best]
    return text, {
        "2 within a fifth of the best": good,
        "the best lies in between": 2 < best < 100,
        "100 are worse than 2": two < hundred,
    }


@_on_both
def latent_plane(data_set):
    """C2: steps between neighbours on the plane of two latents, classes, coverage."""
    plane, rows = records.load_results("claims")[f"C2_{data_set}"], recorded_rows(data_set, ("real", "vae2"))
    covered, possible = (rows[name]["clipped_coverage"] for name in ("vae2", "real"))
    step = plane["largest_step_over_random_pairs"]
    text = f"largest step between neighbours on a grid of {plane['num_images']} {step:.2f} of the distance of "
    text += f"random pairs, classes {plane['classes_covered']} of 10; "
    text += f"clipped coverage {covered:.2f} (real {possible:.2f})"
    diverse = covered >= REACHED * possible
    return text, {"continuous": step < 1, "every class": plane["classes_covered"] == 10, "diverse": diverse}


@_on_both
def sharpness(data_set):
    """C3: differences of neighbouring pixels, and the passes per image."""
    row, passes = records.load_results("claims")[f"C3_{data_set}"], recorded_rows(data_set)["dcgan"]
    text = f"squared difference of neighbouring pixels over that of real images: VAE {row['vae']:.2f}, "
    text += f"DCGAN {row['dcgan']:.2f} (n = {row['num_images']})"
    closer = abs(row["dcgan"] - 1) < abs(row["vae"] - 1)
    return text, {"closer to real": closer, "one pass": passes["passes_per_image"] == 1}


@_on_both
def collapse(data_set):
    """C4: clipped coverage with 100 latents, with 2, and after a single epoch with 2."""
    rows = recorded_rows(data_set, ("real", "dcgan", "dcgan2"))
    rows["dcgan2 after epoch 1"] = records.load_results("claims")[f"C4_{data_set}"]
    real, full, small, first = (row["clipped_coverage"] for row in rows.values())
    text = f"clipped coverage: real {real:.2f}, 100 latents {full:.2f}, 2 latents {small:.2f}, after epoch 1 "
    text += f"{first:.2f}"
    return text, {
        "100 latents miss modes": full < REACHED * real,
        "2 latents miss modes": small < REACHED * real,
        "most after epoch 1": first < small,
    }


@_on_both
def diffusion(data_set):
    """C5: corners, loss curve, images per second in training and sampling."""
    rows, corners = recorded_rows(data_set), reached_corners(data_set)["ddpm"]
    losses = [epoch["loss"] for epoch in records.load_results("training")[f"ddpm_{data_set}"]["history"]]
    rise = max(after / before - 1 for before, after in itertools.pairwise(losses))
    values, ddpm = scoreboard.trilemma_corners("ddpm", rows), rows["ddpm"]
    speeds = {name: recorded_speed(name)["training_images_per_second"] for name in MODELS}
    text = f"quality {values['quality']:.2f}, coverage {values['coverage']:.2f}; largest rise of the loss "
    text += f"in {len(losses)} epochs {max(rise, 0):.1%}; {speeds['ddpm']:,.0f} training images/s (VAE "
    text += f"{speeds['vae']:,.0f}, DCGAN {speeds['dcgan']:,.0f}); {ddpm['images_per_second']:.1f} sampled images/s"
    others = [rows[name] for name in ("vae", "dcgan")]
    return text, {
        "quality": "quality" in corners,
        "coverage": "coverage" in corners,
        "no rise above 1 %": rise < 0.01,
        "slow training": speeds["ddpm"] < min(speeds["vae"], speeds["dcgan"]),
        "slow sampling": 100 * ddpm["images_per_second"] < min(row["images_per_second"] for row in others),
    }


def num_timesteps():
    """C6: the same short training with T = 200 and T = 1000."""
    short, long = (records.load_results("ablations")[name] for name in ("ddpm", "ddpm_1000_timesteps"))
    worse = short["frechet_distance"] >= 1.2 * long["frechet_distance"]
    return _pair(short, long, "with T = 200", "with T = 1000"), {"at most a fifth worse": [not worse]}


@_on_both
def noise_and_denoise(data_set):
    """C7: the images that keep their class, by the timestep to which they are noised."""
    row = records.load_results("claims")[f"C7_{data_set}"]
    shares = {start: row["same_class"][str(start)] for start in sorted(map(int, row["same_class"]))}
    kept = ", ".join(f"{share:.0%} from t = {start}" for start, share in shares.items())
    text = f"images that keep their class: {kept} (n = {row['num_images']})"
    return text, {"most change from the end": shares[max(shares)] < 0.5}


@_on_both
def few_passes(data_set):
    """C8: DDIM in 20 passes and the DDGAN in 4, beside the DDPM in its 200."""
    rows = recorded_rows(data_set, ("ddpm", "ddgan"))
    (rows["DDIM"],) = [
        row
        for row in records.load_results("steps").values()
        if (row["data_set"], row["sampler"], row["passes_per_image"]) == (data_set, "DDIM", 20)
    ]
    rows["DDGAN"] = rows.pop("ddgan")
    full = rows["ddpm"]
    text = ", ".join(
        f"{name} in {row['passes_per_image']} passes: Fréchet distance {row['frechet_distance']:.1f}, clipped coverage "
        f"{row['clipped_coverage']:.2f}"
        for name, row in rows.items()
    )
    parts = {}
    for name in ("DDIM", "DDGAN"):
        parts[f"{name} keeps quality"] = rows[name]["frechet_distance"] <= 1.2 * full["frechet_distance"]
        parts[f"{name} keeps coverage"] = rows[name]["clipped_coverage"] >= REACHED * full["clipped_coverage"]
        parts[f"{name} takes a tenth of the passes"] = 10 * rows[name]["passes_per_image"] <= full["passes_per_image"]
    return text, parts


@_on_both
def corners(data_set):
    """C9: the corners that each model reaches."""
    reached = reached_corners(data_set)
    text = "reached: " + ", ".join(
        f"{name} {' and '.join(sorted(corners)) or 'none'}" for name, corners in reached.items()
    )
    return text, {name: reached[name] == ARTICLE_CORNERS[name] for name in MODELS}


def race():
    """C10: the distances of a VAE after 5 epochs and of a DCGAN epoch by epoch."""
    runs = {name: records.load_results("epochs")[f"{name}_mnist"]["epochs"] for name in ("vae", "dcgan")}
    vae, dcgan = ({row["epoch"]: row["frechet_distance"] for row in rows} for rows in runs.values())
    caught_up = min(epoch for epoch in dcgan if dcgan[epoch] <= vae[5])
    steps = ", ".join(f"{distance:.0f}" for epoch, distance in dcgan.items() if epoch <= caught_up)
    text = f"Fréchet distance of the VAE after 5 epochs {vae[5]:.0f}; of the DCGAN after 1, 2, … epochs {steps} "
    text += f"(n = {runs['vae'][0]['num_images']:,}, one training each)"
    return text, {
        "the VAE is ahead after 5": [vae[5] < dcgan[5]],
        "the DCGAN needs 25 to 100": [25 <= caught_up <= 100],
    }


def published():
    """C13: the bound in nats; our distance of the DCGAN for the record."""
    bound = records.load_results("likelihood")["vae_mnist_1"]
    flat = records.load_results("vae_grid")["mnist_2_summed"]
    row = recorded_rows("mnist")["dcgan"]
    text = f"ELBO of test images {flat['elbo']:.1f} nats with 2 latents ({flat['epochs']} epochs), {bound['nats']:.1f} "
    text += f"with {bound['latent_size']} (n = {bound['num_images']:,}); Fréchet distance of the DCGAN "
    text += f"{row['frechet_distance']:.1f}"
    return text, {
        "ELBO with 2 latents within 5 nats": [abs(flat["elbo"] + 157.4) < 5],
        "ELBO with more within 5 nats": [abs(bound["nats"] + 157.4) < 5],
    }


@_on_both
def hybrid(data_set):
    """C14: the VAE-GAN beside a VAE and a GAN with its decoder, trained for about as long; and with fitted priors.

    The GAN has 100 latents instead of 32, and the losses of the article instead of pairs.
    """
    names = ("vae_dcgan", "dcgan_averaged", "vae_gan", "mixture_vae_dcgan", "mixture_vae_gan")
    vae, gan, both, fitted_vae, fitted_both = rows = list(recorded_rows(data_set, names, 10_000).values())
    pairs = [(both, vae), (fitted_both, fitted_vae)]
    texts = [
        f"{row['frechet_distance']:.1f} ± {row['spread']['frechet_distance']:.1f} ({row['clipped_coverage']:.2f})"
        for row in rows
    ]
    minutes = ", ".join(f"{sum(row['training_minutes'].values()):.0f}" for row in (vae, gan, both))
    text = f"Fréchet distance (clipped coverage) of VAE, GAN and both {', '.join(texts[:3])} after {minutes} minutes; "
    text += f"with a prior fitted to the codes of the VAE and of both {', '.join(texts[3:])} "
    text += "by the second evaluator {:.1f} and {:.1f} ".format(*(row["frechet_distance_2"] for row in rows[3:]))
    text += f"(n = {both['num_images']:,}, {len(both['seeds'])} seeds)"
    covers = [with_both["clipped_coverage"] >= without["clipped_coverage"] - 0.02 for with_both, without in pairs]
    return text, {
        "nearer to real images than the VAE": _clearly_nearer(both, vae),
        "and than the GAN": _clearly_nearer(both, gan),
        "covers what the VAE covers": covers[0],
        "with a fitted prior nearer than all": all(_clearly_nearer(fitted_both, row) for row in (gan, fitted_vae)),
        "and covers what the VAE with one covers": covers[1],
    }


@_on_both
def steering(data_set):
    """C16: the share of images that show what was asked for, without guidance and with the strength that is best."""
    found = records.load_results("guidance")[f"cddpm_{data_set}"]
    rows = {float(strength): row for strength, row in found["strengths"].items()}
    best = max(rows, key=lambda strength: rows[strength]["accuracy"])
    shown = ", ".join(
        f"{rows[strength]['accuracy']:.3f} with w = {strength:g} (Fréchet distance "
        f"{rows[strength]['frechet_distance']:.1f}, clipped coverage {rows[strength]['clipped_coverage']:.2f})"
        for strength in (0.0, best)
    )
    text = f"share of the images that show the class asked for, by our classifier: {shown} (n = "
    text += f"{found['num_images']:,}, {len(found['seeds'])} seeds)"
    return text, {"nine in ten at the best strength": rows[best]["accuracy"] >= 0.9}


@_on_both
def tables(data_set):
    """C17: parameters, answers of the discriminator, and the bound after an epoch from other weights."""
    rows, (other,) = recorded_rows(data_set), set(STUDIED) - {data_set}
    last = records.load_results("training")[f"dcgan_{data_set}"]["history"][-1]
    bounds = records.load_results("claims")[f"C17_{data_set}"]["elbo_from"]  # one per seed
    text = "parameters " + ", ".join(f"{name} {rows[name]['parameters'] / 1e6:.1f} M" for name in MODELS)
    text += f"; the discriminator takes {last['real_called_real']:.0%} of the real and "
    text += f"{last['generated_called_real']:.0%} of the generated images for real; ELBO of the VAE after an epoch "
    means = {start: statistics.fmean(values) for start, values in bounds.items()}
    text += f"from new weights {means['new']:.1f}, from those of {other} {means[other]:.1f} nats, means of "
    text += f"{len(bounds['new'])} seeds"
    return text, {"transfer helps with every seed": min(bounds[other]) > max(bounds["new"])}


def fashion():
    """C18: the corners that each model reaches on MNIST and on Fashion-MNIST too."""
    digits, clothes = (reached_corners(data_set) for data_set in ("mnist", "fashion_mnist"))
    rows = recorded_rows("fashion_mnist")
    distances = ", ".join(f"{name} {row['frechet_distance']:.1f}" for name, row in rows.items())
    text = f"Fréchet distance on Fashion-MNIST: {distances} (n = {rows['vae']['num_images']:,}); corners lost: "
    text += ", ".join(f"{name} {' and '.join(sorted(digits[name] - clothes[name])) or 'none'}" for name in MODELS)
    return text, {f"{name} keeps its corners": [digits[name] <= clothes[name]] for name in MODELS}


def _compare(published, repaired):
    worse = published["frechet_distance"] > 1.2 * repaired["frechet_distance"]
    return _pair(published, repaired, "as published", "repaired"), {"a fifth worse or more": [worse]}


def averaged_kl():
    """D1: 100 latents with the KL averaged over them, and summed."""
    grid = records.load_results("vae_grid")
    return _compare(grid["mnist_100_averaged"], grid["mnist_100_summed"])


def betas():
    """D4: T = 200 with the betas of T = 1000, and with scaled ones."""
    results = records.load_results("ablations")
    return _compare(results["ddpm_published_betas"], results["ddpm_linear"])


def cut_relu():
    """D6: a DCGAN whose generator cuts its ReLU at 0.2, and ours, images from the same seed."""
    published = records.load_results("ablations")["dcgan_cut_relu"]
    runs = {run["seed"]: run for run in records.load_results("scoreboard_1000")["dcgan_mnist"]["runs"]}
    return _compare(published, runs[published["seed"]])


def sampling_loop():
    """D9: seconds per image the published way, and compiled in batches."""
    published, compiled = recorded_speed("ddpm", "article"), recorded_speed("ddpm")
    published, compiled = published["seconds_per_image"], 1 / max(compiled["images_per_second"].values())
    text = f"the same network, seconds per image: {published:.1f} as published, {compiled:.2f} compiled, in batches"
    return text, {"ten times slower or more": [published > 10 * compiled]}
