"""Every check accepts a right solution and refuses wrong ones; the ones to read are in notebooks/solutions.ipynb."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from study import exercises
from trilemma.diffusion.schedules import cosine_schedule


def draw_binary(decoder, latents):
    probabilities = 1 / (1 + np.exp(-np.asarray(decoder(latents))))
    return (probabilities > np.random.default_rng(1).random(probabilities.shape)).astype("float32")


def thresholded(decoder, latents):
    return (np.asarray(decoder(latents)) > 0).astype("float32")


def probabilities_themselves(decoder, latents):
    return 1 / (1 + np.exp(-np.asarray(decoder(latents))))


def same_tosses_for_all(decoder, latents):
    probabilities = probabilities_themselves(decoder, latents)
    return (probabilities > np.random.default_rng(1).random(probabilities.shape[1:])).astype("float32")


def one_toss_per_image(decoder, latents):
    probabilities = probabilities_themselves(decoder, latents)
    return (probabilities > np.random.default_rng(1).random((len(probabilities), 1, 1, 1))).astype("float32")


def logits_as_chances(decoder, latents):
    logits = np.asarray(decoder(latents))
    return (logits > np.random.default_rng(1).random(logits.shape)).astype("float32")


def kl_to_prior(mean, log_variance, s):
    variance = np.exp(log_variance)
    return 0.5 * np.sum((mean**2 + variance) / s**2 - 1 - np.log(variance / s**2), axis=-1)


def kl_averaged(mean, log_variance, s):
    return kl_to_prior(mean, log_variance, s) / mean.shape[-1]


def kl_of_the_standard_prior(mean, log_variance, s):
    return kl_to_prior(mean, log_variance, 1.0)


def kl_without_the_logarithm_of_s(mean, log_variance, s):
    return kl_to_prior(mean, log_variance, s) - mean.shape[-1] * np.log(s)


def relu(x):
    return np.maximum(x, 0)


def hinge_losses(real_logits, generated_logits):
    return -np.mean(generated_logits), np.mean(relu(1 - real_logits)) + np.mean(relu(1 + generated_logits))


def hinge_without_a_limit(real_logits, generated_logits):
    return -np.mean(generated_logits), np.mean(1 - real_logits) + np.mean(1 + generated_logits)


def hinge_in_the_other_order(real_logits, generated_logits):
    return hinge_losses(real_logits, generated_logits)[::-1]


def hinge_of_the_generator_too(real_logits, generated_logits):
    return np.mean(relu(1 - generated_logits)), hinge_losses(real_logits, generated_logits)[1]


def hinge_with_a_wrong_sign(real_logits, generated_logits):
    return -np.mean(generated_logits), np.mean(relu(1 - real_logits)) + np.mean(relu(1 - generated_logits))


def truncated_normal(rng, num_images, size, limit):
    numbers = rng.standard_normal((num_images, size))
    while (outside := np.abs(numbers) > limit).any():
        numbers[outside] = rng.standard_normal(outside.sum())
    return numbers


def cut_at_the_limit(rng, num_images, size, limit):
    return np.clip(rng.standard_normal((num_images, size)), -limit, limit)


def uniform(rng, num_images, size, limit):
    return rng.uniform(-limit, limit, (num_images, size))


def drawn_again_once(rng, num_images, size, limit):
    numbers = rng.standard_normal((num_images, size))
    return np.where(np.abs(numbers) > limit, rng.standard_normal((num_images, size)), numbers)


def squeezed(rng, num_images, size, limit):
    numbers = rng.standard_normal((num_images, size))
    return numbers * limit / np.abs(numbers).max()


def effective_classes(labels, num_classes):
    shares = np.bincount(labels, minlength=num_classes) / len(labels)
    shares = shares[shares > 0]
    return np.exp(-np.sum(shares * np.log(shares)))


def classes_that_occur(labels, num_classes):
    return len(np.unique(labels))


def inverse_of_the_sum_of_squares(labels, num_classes):
    return 1 / np.sum((np.bincount(labels, minlength=num_classes) / len(labels)) ** 2)


def entropy_itself(labels, num_classes):
    return np.log(effective_classes(labels, num_classes))


def linear_alpha_bars(num_steps):
    betas = np.linspace(1e-4, 0.02, num_steps) * 1000 / num_steps
    return np.concatenate([[1.0], np.cumprod(1 - betas)])


def betas_of_a_thousand_steps(num_steps):
    return np.concatenate([[1.0], np.cumprod(1 - np.linspace(1e-4, 0.02, num_steps))])


def betas_scaled_the_wrong_way(num_steps):
    return np.concatenate([[1.0], np.cumprod(1 - np.linspace(1e-4, 0.02, num_steps) * num_steps / 1000)])


def last_beta_alone_scaled(num_steps):
    return np.concatenate([[1.0], np.cumprod(1 - np.linspace(1e-4, 0.02 * 1000 / num_steps, num_steps))])


def without_the_clean_image(num_steps):
    return linear_alpha_bars(num_steps)[1:]


def add_noise(x_0, s, noise):
    schedule = cosine_schedule(200)
    return schedule.signal_rates[s] * x_0 + schedule.noise_rates[s] * noise


def keep_upper_half(x_s, s, x_0, noise):
    return np.concatenate([add_noise(x_0, s, noise)[:, :14], x_s[:, 14:]], axis=1)


def nothing_kept(x_s, s, x_0, noise):
    return x_s


def clean_half(x_s, s, x_0, noise):
    return np.concatenate([x_0[:, :14], x_s[:, 14:]], axis=1)


def lower_half_kept(x_s, s, x_0, noise):
    return np.concatenate([x_s[:, :14], add_noise(x_0, s, noise)[:, 14:]], axis=1)


def left_half_kept(x_s, s, x_0, noise):
    return np.concatenate([add_noise(x_0, s, noise)[:, :, :14], x_s[:, :, 14:]], axis=2)


def one_step_too_noisy(x_s, s, x_0, noise):
    return np.concatenate([add_noise(x_0, s + 1, noise)[:, :14], x_s[:, 14:]], axis=1)


def mix_on_sphere(one, other, share):
    angle = np.arccos(np.sum(one * other) / np.linalg.norm(one) / np.linalg.norm(other))
    return (np.sin((1 - share) * angle) * one + np.sin(share * angle) * other) / np.sin(angle)


def straight_line(one, other, share):
    return (1 - share) * one + share * other


def quarter_of_a_circle(one, other, share):
    return np.cos(share * np.pi / 2) * one + np.sin(share * np.pi / 2) * other


def line_of_the_right_length(one, other, share):
    line = straight_line(one, other, share)
    return line * np.linalg.norm(one) / np.linalg.norm(line)


def ends_exchanged(one, other, share):
    return mix_on_sphere(other, one, share)


def ddim_step(x, image, before, after):
    noise = (x - np.sqrt(before) * image) / np.sqrt(1 - before)
    return np.sqrt(after) * image + np.sqrt(1 - after) * noise


def heun_step(x, before, after, predict):
    image = predict(x, before)
    ahead = predict(ddim_step(x, image, before, after), after)
    return ddim_step(x, (image + ahead) / 2, before, after)


def first_order(x, before, after, predict):
    return ddim_step(x, predict(x, before), before, after)


def image_ahead_alone(x, before, after, predict):
    ahead = predict(ddim_step(x, predict(x, before), before, after), after)
    return ddim_step(x, ahead, before, after)


def from_the_new_place(x, before, after, predict):
    image = predict(x, before)
    moved = ddim_step(x, image, before, after)
    return ddim_step(moved, (image + predict(moved, after)) / 2, before, after)


def midpoint(x, before, after, predict):
    middle = (before + after) / 2
    ahead = ddim_step(x, predict(x, before), before, middle)
    return ddim_step(x, predict(ahead, middle), before, after)


def asked_without_a_step(x, before, after, predict):
    return ddim_step(x, (predict(x, before) + predict(x, after)) / 2, before, after)


def few_images_repeated(images):
    return np.repeat(images[::10], 10, axis=0)


def no_fault(images):
    return images


def blurred(images):
    return (images + np.roll(images, 2, axis=1) + np.roll(images, 2, axis=2)) / 3


def one_image(images):
    return np.repeat(images[:1], len(images), axis=0)


def noisy(images):
    return np.clip(images + 0.2 * np.random.default_rng(0).standard_normal(images.shape), 0, 1)


def wilson(errors, total, z=1.96):
    rate, extra = errors / total, z**2 / total
    middle = (rate + extra / 2) / (1 + extra)
    half = z / (1 + extra) * (rate * (1 - rate) / total + extra / (4 * total)) ** 0.5
    return middle - half, middle + half


def normal_interval(errors, total, z=1.96):
    rate = errors / total
    half = z * (rate * (1 - rate) / total) ** 0.5
    return rate - half, rate + half


def one_z_for_all(errors, total, z=1.96):
    return wilson(errors, total)


def ends_in_the_other_order(errors, total, z=1.96):
    return wilson(errors, total, z)[::-1]


def half_width_undivided(errors, total, z=1.96):
    low, high = wilson(errors, total, z)
    middle, half = (low + high) / 2, (high - low) / 2 * (1 + z**2 / total)
    return middle - half, middle + half


def clipped_density(real, generated, k=5, cut=True, bound=True, own_ball=1):
    within, apart = (np.abs(real - others.T) for others in (real, generated))
    radii = np.sort(within, axis=1)[:, k]
    radii = np.minimum(radii, np.median(radii)) if cut else radii
    counts = [(each <= radii[:, None]).sum(axis=0) / k for each in (apart, within)]
    counts[1] = counts[1] - own_ball / k
    drawn, own = (np.minimum(1, each).mean() if bound else each.mean() for each in counts)
    return min(1, drawn / own)


def plain_density(real, generated, k=5):
    apart, within = np.abs(real - generated.T), np.abs(real - real.T)
    return np.mean((apart <= np.sort(within, axis=1)[:, [k]]).sum(axis=0) / k)


def radii_uncut(real, generated, k=5):
    return clipped_density(real, generated, k, cut=False)


def counts_unbounded(real, generated, k=5):
    return clipped_density(real, generated, k, bound=False)


def own_ball_counted(real, generated, k=5):
    return clipped_density(real, generated, k, own_ball=0)


def withhold(labels, share, none, random):
    return np.where(random.random(labels.shape) < share, none, labels)


def withhold_blocks(labels, share, none, random):
    return np.where(np.repeat(random.random(len(labels) // 10) < share, 10), none, labels)


def withhold_one_class(labels, share, none, random):
    return np.where((labels == 1) & (random.random(labels.shape) < 3 * share), none, labels)


def withhold_the_rest(labels, share, none, random):
    return np.where(random.random(labels.shape) < share, labels, none)


def withhold_the_same(labels, share, none, random):
    return withhold(labels, share, none, np.random.default_rng(5))


def withhold_nothing(labels, share, none, random):
    return labels


def random_label_instead(labels, share, none, random):
    return np.where(random.random(labels.shape) < share, random.integers(0, none, labels.shape), labels)


def guide_between(conditional, unconditional, w, t, low, high):
    strength = w if low < t <= high else 0
    return (1 + strength) * conditional - strength * unconditional


def guide_everywhere(conditional, unconditional, w, t, low, high):
    return guide_between(conditional, unconditional, w, 1, 0, 1)


def guide_with_the_lower_end(conditional, unconditional, w, t, low, high):
    return guide_between(conditional, unconditional, w, t + 1, low, high + 1)


def unconditional_beyond(conditional, unconditional, w, t, low, high):
    return guide_between(conditional, unconditional, w, t, low, high) if low < t <= high else unconditional


def guidance_without_one(conditional, unconditional, w, t, low, high):
    return guide_between(conditional, unconditional, w - 1, t, low, high)


def fit_gaussian(means, log_variances):
    second_moment = np.mean(means[:, :, None] * means[:, None], axis=0) + np.diag(np.exp(log_variances).mean(axis=0))
    centre = means.mean(axis=0)
    return centre, second_moment - np.outer(centre, centre)


def gaussian_of_the_means(means, log_variances):
    return means.mean(axis=0), np.cov(means.T)


def deviations_added(means, log_variances):
    return means.mean(axis=0), np.cov(means.T) + np.diag(np.exp(log_variances / 2).mean(axis=0))


def exponential_of_the_mean(means, log_variances):
    return means.mean(axis=0), np.cov(means.T) + np.diag(np.exp(log_variances.mean(axis=0)))


def diagonal_alone(means, log_variances):
    return means.mean(axis=0), np.diag(np.diag(fit_gaussian(means, log_variances)[1]))


def not_centred(means, log_variances):
    return means.mean(axis=0), np.mean(means[:, :, None] * means[:, None], axis=0)


def walk(decode, start, num_steps, rate, loss):
    code, optimizer = tf.Variable(start), keras.optimizers.Adam(rate)
    for _ in range(num_steps):
        with tf.GradientTape() as tape:
            value = loss(decode(code))
        optimizer.apply([tape.gradient(value, code)], [code])
    return code.numpy()


def find_code(decode, image, start, num_steps=200, rate=0.05):
    return walk(decode, start, num_steps, rate, lambda decoded: tf.reduce_mean((decoded - image) ** 2))


def code_of_the_start(decode, image, start, num_steps=200, rate=0.05):
    return start


def one_step_alone(decode, image, start, num_steps=200, rate=0.05):
    return find_code(decode, image, start, 1, rate)


def uphill(decode, image, start, num_steps=200, rate=0.05):
    return find_code(decode, image, start, num_steps, -rate)


def ink_alone(decode, image, start, num_steps=200, rate=0.05):
    ink = image.mean()
    return walk(decode, start, num_steps, rate, lambda decoded: (tf.reduce_mean(decoded) - ink) ** 2)


def steps_of_its_own_number(decode, image, start, num_steps=200, rate=0.05):
    return find_code(decode, image, start, 200, rate)


CASES = [
    (
        exercises.check_draw_binary,
        draw_binary,
        [thresholded, probabilities_themselves, same_tosses_for_all, one_toss_per_image, logits_as_chances],
    ),
    (
        exercises.check_kl_to_prior,
        kl_to_prior,
        [kl_averaged, kl_of_the_standard_prior, kl_without_the_logarithm_of_s],
    ),
    (
        exercises.check_hinge_losses,
        hinge_losses,
        [hinge_without_a_limit, hinge_in_the_other_order, hinge_of_the_generator_too, hinge_with_a_wrong_sign],
    ),
    (
        exercises.check_truncated_normal,
        truncated_normal,
        [cut_at_the_limit, uniform, drawn_again_once, squeezed],
    ),
    (
        exercises.check_effective_classes,
        effective_classes,
        [classes_that_occur, inverse_of_the_sum_of_squares, entropy_itself],
    ),
    (
        exercises.check_linear_alpha_bars,
        linear_alpha_bars,
        [
            betas_of_a_thousand_steps,
            betas_scaled_the_wrong_way,
            last_beta_alone_scaled,
            without_the_clean_image,
        ],
    ),
    (
        exercises.check_keep_upper_half,
        keep_upper_half,
        [nothing_kept, clean_half, lower_half_kept, left_half_kept, one_step_too_noisy],
    ),
    (
        exercises.check_mix_on_sphere,
        mix_on_sphere,
        [straight_line, quarter_of_a_circle, line_of_the_right_length, ends_exchanged],
    ),
    (
        exercises.check_heun_step,
        heun_step,
        [first_order, image_ahead_alone, from_the_new_place, asked_without_a_step, midpoint],
    ),
    (
        exercises.check_withhold,
        withhold,
        [
            withhold_nothing,
            withhold_blocks,
            withhold_one_class,
            withhold_the_rest,
            withhold_the_same,
            random_label_instead,
        ],
    ),
    (
        exercises.check_guide_between,
        guide_between,
        [guide_everywhere, guide_with_the_lower_end, unconditional_beyond, guidance_without_one],
    ),
    (
        exercises.check_fit_gaussian,
        fit_gaussian,
        [gaussian_of_the_means, deviations_added, exponential_of_the_mean, diagonal_alone, not_centred],
    ),
    (
        exercises.check_find_code,
        find_code,
        [code_of_the_start, one_step_alone, uphill, ink_alone, steps_of_its_own_number],
    ),
    (exercises.check_my_fault, few_images_repeated, [no_fault, blurred, one_image, noisy]),
    (exercises.check_interval, wilson, [normal_interval, one_z_for_all, ends_in_the_other_order, half_width_undivided]),
    (
        exercises.check_clipped_density,
        clipped_density,
        [plain_density, radii_uncut, counts_unbounded, own_ball_counted],
    ),
]


@pytest.mark.parametrize(("check", "solution"), [case[:2] for case in CASES])
def test_a_right_solution_passes(check, solution, capsys):
    check(solution)
    assert capsys.readouterr().out.rstrip().endswith("; right")


@pytest.mark.parametrize(("check", "wrong"), [(case[0], wrong) for case in CASES for wrong in case[2]])
def test_a_wrong_solution_is_told_what_is_off(check, wrong):
    with pytest.raises(AssertionError, match="."):
        check(wrong)


def test_every_check_has_three_wrong_solutions():
    checks = {getattr(exercises, name) for name in dir(exercises) if name.startswith("check_")}
    assert {case[0] for case in CASES} == checks
    assert min(len(case[2]) for case in CASES) >= 3
