"""Sampling algorithms over a noise predictor, one function per algorithm box of a paper.

Noise is an argument of each: `draw_noise(step)` gives the standard normal numbers of step 0, 1, ..., of the images'
shape. So nothing is hidden in a loop, and the same code runs on every backend.
"""

import numpy as np
from keras import ops

from trilemma.data import whole_number
from trilemma.diffusion import schedules


def ddpm_step(predict_noise, schedule, noisy_images, timestep, noise, clip=True):
    """One step of the reverse process: x_t -> x_{t-1}.

    Draws from q(x_{t-1} | x_t, x_0) of Ho et al. 2020, equation 6, at the x_0 that the predicted noise implies.
    At t = 1 the posterior variance is 0, so the last step adds no noise.

    Args:
        predict_noise: function (noisy_images, timesteps (batch,)) -> predicted_noise.
        schedule: schedules.Schedule.
        noisy_images: x_t, (batch, height, width, channels).
        timestep: t, integer scalar in 1 ... T.
        noise: standard normal, of the shape of noisy_images.
        clip: keep the implied x_0 in [-1, 1], the range of images.

    Returns:
        x_{t-1}, of the same shape.
    """
    timesteps = ops.broadcast_to(timestep, (ops.shape(noisy_images)[0],))
    images = _predict_images(predict_noise, schedule, noisy_images, timesteps, clip)
    return schedules.q_posterior_sample(schedule, images, noisy_images, timesteps, noise)


def ddpm_sample(predict_noise, schedule, noisy_images, draw_noise, first_timestep=None, clip=True):
    """Algorithm 2 of Ho et al. 2020: runs `ddpm_step` from t = `first_timestep` down to 1.

    Args:
        predict_noise, schedule, clip: as in `ddpm_step`.
        noisy_images: x_t at t = `first_timestep`; standard normal noise when that is T.
        draw_noise: function (step) -> standard normal noise of the images' shape.
        first_timestep: where to start, 1 ... T; T when None. Smaller values denoise a noised image.

    Returns:
        Images x_0 of the same shape, about [-1, 1].
    """
    first = schedule.num_timesteps if first_timestep is None else first_timestep
    return ops.fori_loop(
        0, first, lambda i, x: ddpm_step(predict_noise, schedule, x, first - i, draw_noise(i), clip), noisy_images
    )


def ddgan_sample(draw_images, schedule, noisy_images, draw_noise):
    """Ancestral sampling of Xiao et al. 2022, section 4: draws x_0 anew in every step, and x_{t-1} given x_t and it.

    Args:
        draw_images: function (noisy_images, timesteps (batch,), step) -> images x_0 of the same shape, in [-1, 1]; the
            step, 0, 1, ..., chooses the latents.
        schedule: schedules.Schedule.
        noisy_images: x_T, standard normal noise.
        draw_noise: as in `ddpm_sample`.

    Returns:
        Images x_0 of the same shape, in [-1, 1].
    """

    def step(i, noisy_images):
        timesteps = ops.broadcast_to(schedule.num_timesteps - i, (ops.shape(noisy_images)[0],))
        images = draw_images(noisy_images, timesteps, i)
        return schedules.q_posterior_sample(schedule, images, noisy_images, timesteps, draw_noise(i))

    return ops.fori_loop(0, schedule.num_timesteps, step, noisy_images)


def spaced_timesteps(num_timesteps, num_steps, power=1.0):
    """Chooses the timesteps that a short sampler visits: T (i / num_steps)^power, rounded up, for i = num_steps ... 1.

    Song et al. 2021 (DDIM), appendix D.2, use the powers 1, uniform, and 2, quadratic: more of the small timesteps.
    Powers below 1 visit more of the large ones.

    Args:
        num_timesteps: T of the schedule.
        num_steps: how many timesteps to visit, 1 ... T.
        power: above 0.

    Returns:
        int array, falling from T; its length is num_steps, or less where steps would coincide.
    """
    num_steps = whole_number("num_steps", num_steps, 1, num_timesteps)
    if not power > 0:
        raise ValueError(f"power is {power}; expected a number above 0.")
    shares = np.linspace(0, 1, num_steps + 1)[1:] ** power
    return np.unique(np.maximum(np.ceil(shares * num_timesteps - 1e-9), 1).astype("int32"))[::-1]


def ddim_sample(predict_noise, schedule, noisy_images, draw_noise=None, timesteps=None, eta=0.0, clip=True):
    """Equation 12 of Song et al. 2021 (DDIM) along a subsequence of the timesteps.

    Args:
        predict_noise, schedule, clip: as in `ddpm_step`.
        noisy_images: x_t at t = timesteps[0].
        draw_noise: as in `ddpm_sample`; needed for eta > 0 alone.
        timesteps: int array, falling, each in 1 ... T; from the last one the way goes to x_0. See `spaced_timesteps`;
            all of them when None.
        eta: 0 draws no noise on the way, so that x_T decides about x_0; 1 is, over all timesteps, `ddpm_sample`.

    Returns:
        Images x_0 of the same shape, about [-1, 1].

    Raises:
        ValueError: eta outside 0 ... 1, or above 0 without draw_noise.
    """
    timesteps = _all_timesteps(schedule) if timesteps is None else timesteps
    signals, next_signals = _alpha_bars(schedule, timesteps)
    deviations = _deviations(signals, next_signals, eta, draw_noise)
    directions = np.sqrt(1 - next_signals - deviations**2)

    def step(i, noisy_images):
        now = ops.broadcast_to(_at(timesteps, i, "int32"), (ops.shape(noisy_images)[0],))
        images = _predict_images(predict_noise, schedule, noisy_images, now, clip)
        noise = (noisy_images - _at(np.sqrt(signals), i) * images) / _at(np.sqrt(1 - signals), i)
        noisy_images = _at(np.sqrt(next_signals), i) * images + _at(directions, i) * noise
        if eta == 0:
            return noisy_images
        return noisy_images + _at(deviations, i) * draw_noise(i)

    return ops.fori_loop(0, len(timesteps), step, noisy_images)


def ddim_invert(predict_noise, schedule, images, timesteps):
    """Finds the x_t from which `ddim_sample` with eta = 0, unclipped, leads back to the images, up to its step size.

    The steps of `ddim_sample` in reverse (Song et al. 2021, section 5.4). Each asks the network at the timestep to
    which it leads, the one that `ddim_sample` asks on the way back; t = 0, from which the first one starts, was never
    trained.

    Args:
        predict_noise, schedule: as in `ddpm_step`.
        images: x_0, (batch, height, width, channels), in [-1, 1].
        timesteps: as in `ddim_sample`, falling.

    Returns:
        x_t at t = timesteps[0], of the same shape.
    """
    signals, next_signals = (values[::-1] for values in _alpha_bars(schedule, timesteps))
    timesteps = timesteps[::-1]

    def step(i, noisy_images):
        now = ops.broadcast_to(_at(timesteps, i, "int32"), (ops.shape(noisy_images)[0],))
        noise = predict_noise(noisy_images, now)
        images = (noisy_images - _at(np.sqrt(1 - next_signals), i) * noise) / _at(np.sqrt(next_signals), i)
        return _at(np.sqrt(signals), i) * images + _at(np.sqrt(1 - signals), i) * noise

    return ops.fori_loop(0, len(timesteps), step, images)


def dpm_solver_sample(predict_noise, schedule, noisy_images, draw_noise=None, timesteps=None, eta=0.0, clip=True):
    """DPM-Solver++(2M) of Lu et al. 2022 (arXiv 2211.01095), algorithm 2: second order at one pass per step.

    `ddim_sample` is its first-order version; this one extrapolates x_0 from the two latest predictions. The first step
    and the last, to x_0, are of first order. With eta = 1 it is SDE-DPM-Solver++(2M), section 5 of the paper.

    Args: as in `ddim_sample`.

    Returns:
        Images x_0 of the same shape, about [-1, 1].
    """
    timesteps = _all_timesteps(schedule) if timesteps is None else timesteps
    signals, next_signals = _alpha_bars(schedule, timesteps)
    deviations = _deviations(signals, next_signals, eta, draw_noise)
    ratios = np.sqrt((1 - next_signals - deviations**2) / (1 - signals))
    gains = np.sqrt(next_signals) - ratios * np.sqrt(signals)
    # lambda = log(signal rate / noise rate); it is infinite at x_0.
    log_rates = 0.5 * np.log(signals / (1 - signals))
    widths = np.diff(log_rates)
    extrapolation = np.zeros(len(timesteps))
    extrapolation[1:-1] = 0.5 * widths[1:] / widths[:-1]

    def step(i, state):
        noisy_images, previous = state
        now = ops.broadcast_to(_at(timesteps, i, "int32"), (ops.shape(noisy_images)[0],))
        images = _predict_images(predict_noise, schedule, noisy_images, now, clip)
        extrapolated = images + _at(extrapolation, i) * (images - previous)
        noisy_images = _at(ratios, i) * noisy_images + _at(gains, i) * extrapolated
        if eta > 0:
            noisy_images += _at(deviations, i) * draw_noise(i)
        return noisy_images, images

    images, _ = ops.fori_loop(0, len(timesteps), step, (noisy_images, ops.zeros_like(noisy_images)))
    return images


SAMPLERS = {"ddpm": ddpm_sample, "ddim": ddim_sample, "dpm_solver": dpm_solver_sample}


def check_sampler(name, num_steps, power, eta, num_timesteps):
    """Refuses a choice of sampler that cannot be; the arguments of `DDPM.use_sampler`, and T.

    Raises:
        ValueError: names what is out of its range, and the remedy.
    """
    if name not in SAMPLERS:
        raise ValueError(f"unknown sampler {name!r}; expected one of {list(SAMPLERS)}.")
    if name == "ddpm" and (num_steps, power, eta) != (None, 1.0, 0.0):
        chosen = f"num_steps={num_steps}, power={power}, eta={eta}"
        raise ValueError(
            f'"ddpm" walks all {num_timesteps} timesteps, not {chosen}; use "ddim", with eta=1 for its noise.'
        )
    _check_eta(eta)
    spaced_timesteps(num_timesteps, num_timesteps if num_steps is None else num_steps, power)


def _check_eta(eta):
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}; expected a number in 0 ... 1.")


def _all_timesteps(schedule):
    return np.arange(schedule.num_timesteps, 0, -1, dtype="int32")


def _deviations(signals, next_signals, eta, draw_noise):
    """sigma of equation 16 of Song et al. 2021, step by step, from alpha_bar before and after the step."""
    _check_eta(eta)
    if eta > 0 and draw_noise is None:
        raise ValueError(f"eta is {eta}, which draws noise on the way; give draw_noise, or eta=0.")
    return eta * np.sqrt((1 - next_signals) / (1 - signals) * (1 - signals / next_signals))


def _alpha_bars(schedule, timesteps):
    """alpha_bar at the timesteps, and after the step from each: at the next one, in the end at x_0."""
    alpha_bars = schedule.alpha_bars[np.append(timesteps, 0)]
    return alpha_bars[:-1], alpha_bars[1:]


def _at(values, i, dtype="float32"):
    return ops.take(ops.convert_to_tensor(np.ascontiguousarray(values), dtype), i)


def _predict_images(predict_noise, schedule, noisy_images, timesteps, clip):
    predicted_noise = predict_noise(noisy_images, timesteps)
    images = schedules.predict_images(schedule, noisy_images, timesteps, predicted_noise)
    return ops.clip(images, -1.0, 1.0) if clip else images
