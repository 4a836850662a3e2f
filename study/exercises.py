"""Checks of the notebooks' exercises: each takes the learner's function, prints "right" or says what is off.

They know the answer by another way than the solutions do: a closed form, many draws, another formula.
"""

import itertools
import math

import numpy as np
from keras import ops

from trilemma import as_float, load_images
from trilemma.evaluation import scoreboard


def _require(holds, message):
    if not holds:
        raise AssertionError(message)


def check_draw_binary(draw_binary):
    """Notebook 1: many draws of one code have its probabilities as their mean, and no two of them are the same."""
    probabilities = np.linspace(0.05, 0.95, 784).reshape(1, 28, 28, 1)
    logits = np.log(probabilities / (1 - probabilities)).astype("float32")

    def decoder(latents):
        return ops.repeat(logits, len(latents), axis=0)

    images = np.asarray(draw_binary(decoder, np.zeros((2000, 2), "float32")))
    _require(images.shape == (2000, 28, 28, 1), f"the shape is {images.shape}; expected one image per code.")
    values = np.unique(images)
    _require(np.isin(values, [0, 1]).all(), f"pixels are {values[:3]}, …; expected 0 and 1 alone.")
    spread = images.std(axis=0).max()
    _require(spread > 0, "all draws of one code are the same image; toss the pixels of each image anew.")
    # The deviation of a mean of 2,000 tosses is at most 0.011.
    error = np.abs(images.mean(axis=0) - probabilities[0]).max()
    _require(error < 0.06, f"a pixel comes up {error:.2f} too often or too rarely; its chance is the sigmoid's value.")
    # Two neighbours whose chances are near a half; without a common toss their correlation is off by about 0.02.
    together = np.corrcoef(images.reshape(2000, 784)[:, 391:393].T)[0, 1]
    _require(abs(together) < 0.15, f"neighbouring pixels go together ({together:.2f}); expected a toss for each pixel.")
    print("over 2,000 draws every pixel's share is within 0.06 of its chance; right")


def check_kl_to_prior(kl_to_prior):
    """Notebook 1: the divergence agrees with its definition, a mean over draws."""
    mean = np.array([[0.5, -1.0, 0.0]], "float32")
    log_variance = np.log(np.array([[0.25, 1.5, 0.49]], "float32"))
    for s in (0.7, 1.0, 2.0):
        noise = np.random.default_rng(0).normal(size=(400_000, 3))
        drawn = mean + np.exp(log_variance / 2) * noise
        log_posterior = -(noise**2 + log_variance).sum(axis=1) / 2
        log_prior = -(drawn**2 / s**2 + 2 * np.log(s)).sum(axis=1) / 2
        expected = np.mean(log_posterior - log_prior)
        nats = np.asarray(kl_to_prior(mean, log_variance, s))
        _require(
            nats.shape == (1,), f"the shape is {nats.shape}; expected one number per code, a sum over its numbers."
        )
        _require(abs(nats[0] - expected) < 0.02, f"for s = {s} it is {nats[0]:.3f} nats; expected {expected:.3f}.")
    print(f"for s = 2: {nats[0]:.2f} nats; right")


def check_hinge_losses(hinge_losses):
    """Notebook 2: the losses of logits worked out by hand, and no gain from a logit beyond its limit."""
    logits = ([[2.0], [0.5], [-1.0]], [[-2.0], [0.0], [3.0]])
    real_logits, generated_logits = (ops.convert_to_tensor(each, "float32") for each in logits)
    generator_loss, discriminator_loss = (float(loss) for loss in hinge_losses(real_logits, generated_logits))
    # Real images cost 0, 0.5 and 2, generated ones 0, 1 and 4; the logits of the latter have the mean 1/3.
    _require(
        abs(discriminator_loss - 2.5) < 1e-4,
        f"the discriminator's loss is {discriminator_loss:.2f}; expected 2.50 = (0 + 0.5 + 2) / 3 + (0 + 1 + 4) / 3.",
    )
    _require(
        abs(generator_loss + 1 / 3) < 1e-4,
        f"the generator's loss is {generator_loss:.2f}; expected -0.33, minus the mean of its logits.",
    )
    print(f"generator {generator_loss:.2f}, discriminator {discriminator_loss:.2f}; right")


def check_truncated_normal(truncated_normal):
    """Notebook 2: nothing lies beyond the limit or piles up there, and the deviation is that of the cut normal."""
    for limit in (0.5, 1.0, 2.0):
        numbers = np.asarray(truncated_normal(np.random.default_rng(0), 2000, 50, limit))
        _require(numbers.shape == (2000, 50), f"the shape is {numbers.shape}; expected (num_images, size).")
        largest = np.abs(numbers).max()
        _require(
            largest <= limit, f"a number has the size {largest:.2f}; the limit was {limit}. Draw again until none."
        )
        at_limit = np.mean(np.abs(numbers) >= limit * (1 - 1e-6))
        _require(at_limit < 1e-3, f"{at_limit:.0%} of the numbers lie at the limit; draw them again, do not cut them.")
        inside = math.erf(limit / math.sqrt(2))
        expected = math.sqrt(1 - 2 * limit * math.exp(-(limit**2) / 2) / math.sqrt(2 * math.pi) / inside)
        # The deviation of 100,000 numbers is off by about 0.002.
        _require(
            abs(numbers.std() - expected) < 0.01,
            f"within ± {limit} the deviation is {numbers.std():.3f}; expected {expected:.3f}, that of a normal "
            "distribution without its tails.",
        )
    print(f"deviation within ± 2: {numbers.std():.2f}; right")


def check_effective_classes(effective_classes):
    """Notebook 2: equal classes count in full, rare ones in part, absent ones not at all."""
    for labels, expected in [
        (np.arange(1000) % 10, 10.0),
        (np.full(50, 3), 1.0),
        (np.arange(100) % 4, 4.0),
        # Shares 3/4 and 1/4: (4/3)^(3/4) * 4^(1/4).
        (np.array([0, 0, 0, 7]), (4 / 3) ** 0.75 * 4**0.25),
    ]:
        number = float(effective_classes(labels, 10))
        shares = np.unique(labels, return_counts=True)[1] / len(labels)
        _require(
            abs(number - expected) < 1e-3,
            f"shares of {np.round(shares, 2).tolist()} give {number:.2f} classes; expected {expected:.2f}.",
        )
    print(f"three quarters and one quarter: {number:.2f} classes; right")


def check_linear_alpha_bars(linear_alpha_bars):
    """Notebook 3: alpha_bar of any T is that of betas on a line, each times 1000 / T."""
    for num_steps in (1000, 200, 100):
        alpha_bars = np.asarray(linear_alpha_bars(num_steps))
        _require(
            alpha_bars.shape == (num_steps + 1,),
            f"for T = {num_steps} the shape is {alpha_bars.shape}; expected ({num_steps + 1},): index 0 is the image.",
        )
        _require(abs(alpha_bars[0] - 1) < 1e-9, f"alpha_bar_0 is {alpha_bars[0]:.3f}; expected 1, the clean image.")
        line = 1e-4 + (0.02 - 1e-4) * np.arange(num_steps) / (num_steps - 1)
        expected = np.exp(np.cumsum(np.log1p(-line * 1000 / num_steps)))
        error = np.abs(alpha_bars[1:] - expected).max()
        _require(
            error < 1e-6,
            f"for T = {num_steps} alpha_bar_T is {alpha_bars[-1]:.3g} and some alpha_bar is off by {error:.2g}; "
            f"expected {expected[-1]:.3g} at the end. Multiply every beta by 1000 / T, before the product.",
        )
        if num_steps == 200:
            last = alpha_bars[-1]
    print(f"alpha_bar_T = {last:.6f} for T = 200; right")


def check_keep_upper_half(keep_upper_half):
    """Notebook 3: the lower half of x_s stays, the upper one is that of x_0 noised to s by the given noise."""
    x_s, x_0, noise = np.random.default_rng(0).normal(size=(3, 4, 28, 28, 1)).astype("float32")
    for s in (150, 60, 0):
        changed = np.asarray(keep_upper_half(x_s, s, x_0, noise))
        _require(changed.shape == x_s.shape, f"the shape is {changed.shape}; expected {x_s.shape}, that of x_s.")
        error = np.abs(changed[:, 14:] - x_s[:, 14:]).max()
        _require(error < 1e-6, "the lower half is not that of x_s; it is the model's to draw.")
        _require(np.abs(changed[:, :14] - x_s[:, :14]).max() > 1e-3, "the upper half is still that of x_s.")
        # Without the bound on beta, which touches the last step alone, the product of the cosine schedule is closed.
        alpha_bar = (np.cos((s / 200 + 0.008) / 1.008 * np.pi / 2) / np.cos(0.008 / 1.008 * np.pi / 2)) ** 2
        expected = np.sqrt(alpha_bar) * x_0 + np.sqrt(1 - alpha_bar) * noise
        error = max(error, np.abs(changed - expected)[:, :14].max())
        _require(
            error < 1e-4,
            f"at s = {s} the upper half is off by {error:.2f}; expected x_0 noised to that s, with the noise given.",
        )
    print(f"largest error of the halves at s = 150, 60, 0: {error:.3f}; right")


def check_mix_on_sphere(mix_on_sphere):
    """Notebook 4: the way between two codes of equal length keeps that length and turns evenly, at any angle."""
    random = np.random.default_rng(0)
    one = random.standard_normal((6, 5, 1))
    length = np.linalg.norm(one)
    for overlap in (0.0, 0.8):
        other = overlap * one + (1 - overlap) * random.standard_normal(one.shape)
        other *= length / np.linalg.norm(other)
        full = np.degrees(np.arccos(np.sum(one * other) / length**2))
        for share in (0.0, 0.25, 0.5, 1.0):
            code = np.asarray(mix_on_sphere(one, other, share))
            _require(code.shape == one.shape, f"the shape is {code.shape}; expected that of the ends, {one.shape}.")
            reached = np.linalg.norm(code)
            _require(
                abs(reached / length - 1) < 0.01,
                f"at the share {share} the length is {reached / length:.2f} of that of the ends; expected 1.00.",
            )
            angle = np.degrees(np.arccos(np.clip(np.sum(one * code) / length / reached, -1, 1)))
            _require(
                abs(angle - share * full) < 1,
                f"at the share {share} the angle from the first code is {angle:.0f} degrees; expected "
                f"{share * full:.0f}, that share of the {full:.0f} degrees between the ends.",
            )
    halfway = np.linalg.norm(mix_on_sphere(one, other, 0.5)) / length
    print(f"length halfway: {halfway:.2f} of that of the ends; right")


def check_heun_step(heun_step):
    """Notebook 4: the step asks twice and is of second order, on images from N(0, 1/4), where the way is known.

    There the expected x_0 is linear in x_t, and without noise x_t over its deviation stays as it is.
    """

    def predict(x, alpha_bar):
        return np.sqrt(alpha_bar) * 0.25 * x / (0.25 * alpha_bar + 1 - alpha_bar)

    asked = []

    def counting(x, alpha_bar):
        asked.append(alpha_bar)
        return predict(x, alpha_bar)

    heun_step(1.0, 0.2, 0.6, counting)
    _require(asked == [0.2, 0.6], f"the step from 0.2 to 0.6 asks for the image at {asked}; expected at both ends.")
    errors = {}
    for num_steps in (16, 32):
        alpha_bars, x = 1 / (1 + np.exp(-2 * np.linspace(-2, 2, num_steps + 1))), 1.0
        for before, after in itertools.pairwise(alpha_bars):
            x = heun_step(x, before, after, predict)
        first, last = (0.25 * each + 1 - each for each in (alpha_bars[0], alpha_bars[-1]))
        errors[num_steps] = abs(float(x) - np.sqrt(last / first))
    ratio = errors[16] / errors[32]
    _require(
        errors[32] < 0.01 and ratio > 3,
        f"32 steps leave the error {errors[32]:.4f}, 16 steps {ratio:.1f} times as much; expected 0.0009 and 4 times. "
        "Step ahead with the image at `before`, ask there again, and step from the old x with the mean of both images.",
    )
    print(f"half the step size divides the error by {ratio:.1f}; right")


def check_withhold(withhold):
    """Notebook 5: labels are withheld one by one, at the asked share, whatever the class is."""
    labels = np.random.default_rng(1).permutation(30_000) % 3
    told = np.asarray(withhold(labels.copy(), 0.1, 3, np.random.default_rng(0)))
    _require(told.shape == labels.shape, f"the shape is {told.shape}; expected {labels.shape}, a label per image.")
    withheld = told == 3
    _require((told[~withheld] == labels[~withheld]).all(), "a label that is not withheld changed; keep it.")
    # The deviations of these shares are 0.002 and 0.003.
    shares = np.array([withheld.mean(), *(withheld[labels == label].mean() for label in range(3))])
    _require(
        np.abs(shares - 0.1).max() < 0.015,
        f"shares of {np.round(shares, 2).tolist()} are withheld, in all and of each class; expected 0.1 of each.",
    )
    together = np.mean(withheld[1:] & withheld[:-1])
    _require(
        together < 0.02, f"neighbours go together in {together:.2f} of all places; expected 0.01, by chance alone."
    )
    again = np.asarray(withhold(labels.copy(), 0.1, 3, np.random.default_rng(1))) == 3
    _require((again != withheld).any(), "another random generator withholds the same labels; toss for each.")
    print(f"a share of {shares[0]:.2f} is withheld, of every class alike; right")


def check_guide_between(guide_between):
    """Notebook 5: equation 6 of Ho & Salimans within the interval, the conditional prediction beyond."""
    random, guided = np.random.default_rng(0), 0
    for t in (200, 151, 150, 41, 40, 1):
        conditional, unconditional = random.standard_normal((2, 4))
        found = np.asarray(guide_between(conditional, unconditional, 2.5, t, 40, 150))
        expected = conditional
        if 40 < t <= 150:
            guided, expected = guided + 1, conditional + 2.5 * (conditional - unconditional)
        error = np.abs(found - expected).max()
        kind = "guided" if 40 < t <= 150 else "conditional"
        _require(error < 1e-6, f"at t = {t} it is off by {error:.2f}; expected the {kind} velocity between 40 and 150.")
    print(f"guided at {guided} of 6 timesteps; right")


def check_fit_gaussian(fit_gaussian):
    """Notebook 7: the moments of all draws, from very many of them."""
    random = np.random.default_rng(0)
    means = random.standard_normal((40, 3)) @ [[1.0, 0.8, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, 0.3]] + [0.0, 2.0, -1.0]
    log_variances = np.log(random.uniform(0.1, 3, (40, 3)))
    draws = means + np.exp(0.5 * log_variances) * random.standard_normal((20_000, 40, 3))
    centre, covariance = (np.asarray(each) for each in fit_gaussian(means, log_variances))
    shapes = centre.shape, covariance.shape
    _require(shapes == ((3,), (3, 3)), f"the shapes are {shapes[0]} and {shapes[1]}; expected (3,) and (3, 3).")
    draws = draws.reshape(-1, 3)
    # The deviation of these moments is at most 0.005; a division by 39 instead of 40 adds at most 0.06.
    off = np.abs(centre - draws.mean(axis=0)).max()
    _require(off < 0.02, f"a mean is off by {off:.2f}; expected the mean of the means.")
    wrong = np.abs(covariance - np.cov(draws.T))
    _require(
        np.diag(wrong).max() < 0.1,
        f"a variance is off by {np.diag(wrong).max():.2f}; expected how far the means spread, plus the mean variance.",
    )
    _require(wrong.max() < 0.1, f"a covariance is off by {wrong.max():.2f}; expected that of the means.")
    print(f"the first number of a code: mean {centre[0]:.2f}, variance {covariance[0, 0]:.2f}; right")


def check_find_code(find_code):
    """Notebook 7: a decoder whose pixels are a known function of the code, which no two codes share."""
    random = np.random.default_rng(0)
    spread = np.linalg.qr(random.standard_normal((64, 3)))[0].T.astype("float32")  # (3, 64), orthonormal rows

    def decode(codes):
        return ops.reshape(ops.sigmoid(6 * ops.matmul(codes, spread)), (-1, 8, 8, 1))

    errors = []
    for _ in range(3):
        wanted, start = (random.uniform(-1, 1, (1, 3)).astype("float32") for _ in range(2))
        image = np.asarray(decode(ops.convert_to_tensor(wanted)))
        found = np.asarray(find_code(decode, image, start.copy(), 150, 0.05))
        _require(found.shape == (1, 3), f"the shape is {found.shape}; expected (1, 3), that of the start.")
        before, after = (float(np.abs(each - wanted).max()) for each in (start, found))
        _require(
            after < 0.1,
            f"a number of the code is off by {after:.2f}, at the start by {before:.2f}; expected below 0.10 after 150 "
            "steps. Move the code, step by step, down the gradient of the squared difference of the pixels.",
        )
        short = np.asarray(find_code(decode, image, start.copy(), 1, 0.05))
        moved = float(np.abs(short - start).max())
        _require(moved < 0.1, f"one step of Adam moves by {moved:.2f}; expected at most the rate, 0.05.")
        errors.append(after)
    print(f"largest error of three codes: {max(errors):.2f}; right")


def check_my_fault(my_fault):
    """Notebook 9: class KL and clipped density hardly notice the fault, clipped coverage does."""
    images = as_float(load_images("mnist")[0][:500])
    faulty = np.asarray(my_fault(images.copy()))
    _require(faulty.shape == images.shape, f"the shape is {faulty.shape}; expected {images.shape}.")
    scores = scoreboard.score_images(faulty.astype("float32"), "mnist")
    kl, density, coverage = (scores[key] for key in ("class_kl", "clipped_density", "clipped_coverage"))
    _require(kl < 0.1, f"class KL is {kl:.2f} and notices; keep the classes as frequent as they were.")
    _require(density > 0.6, f"clipped density is {density:.2f}; expected above 0.6. Keep single images good ones.")
    _require(coverage < 0.65, f"clipped coverage is {coverage:.2f}; expected below 0.65. Lose more variants.")
    print(f"class KL {kl:.2f}, clipped density {density:.2f}, clipped coverage {coverage:.2f}; right")


def check_interval(interval):
    """Notebook 9: both ends solve (rate - share)^2 = z^2 rate (1 - rate) / n, the condition that defines them."""
    for errors, total, z in ((0, 20, 1.96), (3, 20, 1.0), (10, 20, 1.96), (20, 20, 1.96), (270, 600, 1.96)):
        ends = interval(errors, total, z)
        # (1 + z^2 / n) r^2 - (2 share + z^2 / n) r + share^2 = 0
        share, extra = errors / total, z**2 / total
        expected = sorted(np.roots([1 + extra, -(2 * share + extra), share**2]).real)
        off = np.abs(np.subtract(ends, expected)).max()
        shown, wanted = ("{:.3f} to {:.3f}".format(*each) for each in (ends, expected))
        _require(off < 1e-3, f"for {errors} of {total}, z = {z}, it is {shown}; expected {wanted}.")
    print("for 270 of 600: {:.2f} to {:.2f}; right".format(*ends))


def check_clipped_density(clipped_density):
    """Notebook 9: points on a line, where balls can be counted by hand in a loop."""
    generator = np.random.default_rng(0)
    for k, strays in ((3, 0), (5, 2)):
        real = generator.normal(size=(40, 1))
        real[:strays] += 30
        generated = np.concatenate([generator.normal(size=(25, 1)), generator.uniform(3, 25, (8, 1))])

        def balls_around(point, radii, left_out=None, centres=real[:, 0]):
            return sum(abs(point - x) <= radii[i] for i, x in enumerate(centres) if i != left_out)

        radii = [sorted(abs(x - y) for y in real[:, 0])[k] for x in real[:, 0]]
        radii = [min(radius, float(np.median(radii))) for radius in radii]
        drawn = np.mean([min(1, balls_around(x, radii) / k) for x in generated[:, 0]])
        own = np.mean([min(1, balls_around(x, radii, i) / k) for i, x in enumerate(real[:, 0])])
        expected, found = min(1, drawn / own), float(clipped_density(real, generated, k))
        what = f"for k = {k} and {strays} strays it is {found:.3f}; expected {expected:.3f}"
        _require(
            abs(found - expected) < 1e-6, f"{what}. Cut the radii, then the counts, then divide by the real points'."
        )
    same = float(clipped_density(real, real + 1e-9, k))
    _require(same <= 1, f"for the real points themselves it is {same:.3f}; expected at most 1.")
    print(f"with two strays: {found:.2f}; right")
