"""The claims of the article and its companions, and the defects of their code, each beside what was measured here.

A row's numbers are read from `results/`, and its verdict follows from conditions on them; only the reason is written
by hand.
"""

import dataclasses
from collections.abc import Callable

from study import evidence

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


CLAIMS = (
    Claim(
        "C1", "article", "a VAE is good with 2 latents, not that good with 100, best in between", evidence.latent_sizes,
        "With the averaged KL (D1) 100 latents are about as bad as 2; with the sum they are clearly better. Whether 16 "
        "or 100 are best, one training per size cannot tell.",
    ),
    Claim(
        "C2", "article", "the plane of two latents is diverse, complete and continuous", evidence.latent_plane,
        "Neighbours resemble each other, but two numbers are too few for ten classes in all their styles.",
    ),
    Claim(
        "C3", "article", "DCGAN samples are less blurry than the VAE's, and one pass draws one", evidence.sharpness,
        "A decoder that is unsure answers grey; a discriminator sees that grey at once.",
    ),
    Claim(
        "C4", "article", "a DCGAN suffers mode collapse, most of all with 2 latents after epoch 1", evidence.collapse,
        "After six epochs no class is lost, yet with 100 latents a quarter of the digits is covered and a third of the "
        "clothes, with 2 about a tenth.",
    ),
    Claim(
        "C5", "article", "DDPM: high quality, diverse, stable but slow training, slow sampling", evidence.diffusion,
        "One regression loss, no opponent: it falls steadily. Every image costs 200 passes with the article's sampler; "
        "the notebook on fast sampling knows others. After 18 epochs it covers four fifths of what real images do.",
    ),
    Claim(
        "C6", "article", "T = 200 instead of 1000 is a fair saving", evidence.num_timesteps,
        "So it is with a schedule that fits T, after three epochs; what 1,000 steps bring after more is not measured. "
        "The saving as the article makes it, with betas that do not fit, does cost quality (D4).",
    ),
    Claim(
        "C7", "article", "a noised and denoised image need not resemble the original", evidence.noise_and_denoise,
        "From t = 199 of 200 nothing is left to resemble: one class in ten is kept by chance. Up to t = 120 most are.",
    ),
    Claim(
        "C8", "article", "DDIM and DDGAN keep quality and coverage and add speed", evidence.few_passes,
        "Kept is measured by the DDPM's own 200 passes. DDIM, which draws no noise on the way, loses quality, and with "
        "200 passes too; a second-order solver with noise does not in 20. The DDGAN saw 60 epochs, where the authors' "
        "one on CIFAR-10 had 1,200.",
    ),
    Claim(
        "C9", "article", "VAE: speed and coverage; DCGAN: speed and quality; DDPM: quality and coverage",
        evidence.corners,
        "By a score of coverage that is not misled by stray images none of these weights reaches coverage, and the "
        "DDPM, after 18 epochs, quality on digits alone. The DCGAN's edges are sharp (C3), but many of its shapes are "
        "odd. With a prior that fits its codes the same VAE reaches all three corners on digits (notebook 1).",
    ),
    Claim(
        "C10", "report", "after 5 epochs a VAE beats a GAN, which needs about 50 to catch up", evidence.race,
        "By distance our DCGAN is past that VAE in its second epoch. The report judged by eye, on other networks, and "
        "gives no scores by epoch.",
    ),
    Claim(
        "C13", "report", "on MNIST the ELBO of a VAE is -157.4 nats and the FID of a GAN 175.0", evidence.published,
        "Two latents come within 5 nats; the report does not say how many it had. An FID from Inception features "
        "cannot be compared with our distance; it is not part of the verdict.",
    ),
    Claim(
        "C14", "report", "a hybrid of VAE and GAN combines the strengths of both", evidence.hybrid,
        "It has an encoder, and sharper edges than the VAE (notebook 7). Drawn from its prior it is level with the GAN "
        "in distance on digits and ahead on clothes. Drawn from a prior fitted to its codes it is ahead of all by our "
        "evaluator; the second one puts the VAE, drawn likewise, first on both, and on digits that VAE covers more.",
    ),
    Claim(
        "C16", "article", "labels steer what is generated", evidence.steering,
        "A label is one more input; guidance makes it count for more than in training, and is paid for in coverage.",
    ),
    Claim(
        "C17", "survey", "tables of parameters and judgements; training transfers between data sets", evidence.tables,
        "The tables are here, beside the claim; the verdict is on the transfer: an epoch from the other data set's "
        "weights goes further than one from new weights, with each of three seeds.",
    ),
    Claim(
        "C18", "blog", "all of it works on Fashion-MNIST too", evidence.fashion,
        "The same recipes train, and by distance the order of the models stays; but the DDPM's quality falls just "
        "short of 0.9.",
    ),
    Claim(
        "C19", "article", "a person takes generated images for real", lambda: ("no person has played", {}),
        "The game of the comparison is ready, and it recovers the error rates of simulated players; it needs persons.",
    ),
    Claim(
        "D1", "article", "the KL averaged over 100 latents costs quality", evidence.averaged_kl,
        "A hundredth of the penalty lets the encoder leave the prior, from which the decoder then has to draw: most "
        "real images are out of its reach.",
    ),
    Claim(
        "D4", "article", "betas made for T = 1000 at T = 200 cost quality", evidence.betas,
        "A third of the image's amplitude is left at t = 200, so that training never meets the pure noise from which "
        "sampling starts: strokes come out too bold, and fewer shapes are digits.",
    ),
    Claim(
        "D6", "article", "a generator's ReLU cut at 0.2 costs quality", evidence.cut_relu,
        "Above 0.2 nothing passes a gradient back, and every feature can say little more than on or off. Coverage "
        "suffers; precision even rises.",
    ),
    Claim(
        "D9", "article", "images sampled one by one, in a Python loop, are slow", evidence.sampling_loop,
        "An eager network pays for every layer of every step; one compiled loop over a batch shares the cost.",
    ),
)  # fmt: skip
