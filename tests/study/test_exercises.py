"""Every check accepts its solution and refuses wrong ones. The solutions themselves stand in notebooks/solutions.ipynb."""

import numpy as np
import pytest

from study import exercises


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


CASES = [
    (
        exercises.check_draw_binary,
        draw_binary,
        [thresholded, probabilities_themselves, same_tosses_for_all, logits_as_chances],
    ),
    (
        exercises.check_kl_to_prior,
        kl_to_prior,
        [kl_averaged, kl_of_the_standard_prior, kl_without_the_logarithm_of_s],
    ),
]


@pytest.mark.parametrize(("check", "solution"), [case[:2] for case in CASES])
def test_a_right_solution_passes(check, solution, capsys):
    check(solution)
    assert capsys.readouterr().out.rstrip().endswith("; right")


@pytest.mark.parametrize(("check", "wrong"), [(case[0], wrong) for case in CASES for wrong in case[2]])
def test_a_wrong_solution_is_told_what_is_off(check, wrong):
    with pytest.raises(AssertionError, match="expected|the same image|too often"):
        check(wrong)


def test_every_check_has_three_wrong_solutions():
    checks = {getattr(exercises, name) for name in dir(exercises) if name.startswith("check_")}
    assert {case[0] for case in CASES} == checks
    assert min(len(case[2]) for case in CASES) >= 3
