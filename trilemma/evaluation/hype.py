"""Human evaluation: how often a person takes a generated image for a real one (HYPE-infinity, Zhou et al. 2019)."""

import math
import statistics

import numpy as np


class Game:
    """A shuffled series of real and generated images; the player says of each whether it is real.

    Half of the rounds show real images, as in the paper; the models share the other half equally.

    Args:
        real_images: uint8, or floats in [0, 1], (n, height, width, channels).
        generated_images: model name -> images (m, height, width, channels), likewise.
        rounds_per_model: generated images of every model that are shown; n and every m must suffice.
        seed: chooses the images and their order.

    Attributes:
        rounds: list of (source, image); the source is "real" or a model's name.
        answers: list of bool, True where the player said "real".
        seed: the seed of these rounds.
    """

    def __init__(self, real_images, generated_images, rounds_per_model=10, seed=0):
        self._wanted = {"real": (real_images, rounds_per_model * len(generated_images))}
        self._wanted |= {name: (images, rounds_per_model) for name, images in generated_images.items()}
        for source, (images, count) in self._wanted.items():
            if len(images) < count:
                raise ValueError(f"{source} has {len(images)} images; {count} rounds need as many.")
        self.restart(seed)

    def restart(self, seed=None):
        """Forgets all answers and draws other images, by the next seed unless one is given."""
        self.seed = self.seed + 1 if seed is None else seed
        random = np.random.default_rng(self.seed)
        self.rounds = []
        for source, (images, count) in self._wanted.items():
            chosen = random.choice(len(images), count, replace=False)
            self.rounds += [(source, images[i]) for i in chosen]
        self.rounds = [self.rounds[i] for i in random.permutation(len(self.rounds))]
        self.answers = []

    def answer(self, says_real):
        """Takes the player's word on the next image."""
        if len(self.answers) == len(self.rounds):
            raise ValueError(f"all {len(self.rounds)} images have been judged; start a new Game.")
        self.answers.append(bool(says_real))

    def undo(self):
        """Takes back the last answer."""
        if not self.answers:
            raise ValueError("no image has been judged, so there is no answer to take back; answer first.")
        self.answers.pop()

    def scores(self):
        """The player's errors so far.

        Returns:
            list of dicts, one per source, "real" first: source, num_images, errors (real images called generated,
            generated images called real), error_rate, and the 95 % interval low ... high. A model whose images
            cannot be told apart has an error rate near 0.5.
        """
        errors = {"real": []}
        for (source, _), says_real in zip(self.rounds, self.answers, strict=False):
            errors.setdefault(source, []).append(says_real != (source == "real"))
        rows = []
        for source, wrong in errors.items():
            low, high = wilson_interval(sum(wrong), len(wrong))
            rate = sum(wrong) / len(wrong) if wrong else None
            rows.append(
                {"source": source, "num_images": len(wrong), "errors": sum(wrong), "error_rate": rate}
                | {"low": low, "high": high}
            )
        return rows


def wilson_interval(successes, total, confidence=0.95):
    """Confidence interval of a binomial proportion (Wilson 1927); (0, 1) for no trial at all."""
    if total == 0:
        return 0.0, 1.0
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def play(game, answer):
    """Plays to the end without a person.

    Args:
        game: Game.
        answer: function (source, image) -> True for "real".
    """
    for source, image in game.rounds[len(game.answers) :]:
        game.answer(answer(source, image))
