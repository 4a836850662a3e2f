"""The claims of the article and its companions, and the defects of their code, each beside what was measured here.

A row's numbers are read from `results/`, and its verdict follows from conditions on them; only the reason is written
by hand.
"""

import dataclasses
from collections.abc import Callable

from trilemma import evidence

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
        "The failure at 100 is the averaged KL (D1). Summed, 100 latents beat 2 clearly, and on Fashion-MNIST every "
        "other size tried: a VAE leaves latents that it does not need at the prior.",
    ),
    Claim(
        "C2", "article", "the plane of two latents is diverse, complete and continuous", evidence.latent_plane,
        "Neighbours resemble each other everywhere, but two numbers are too few for ten classes in all their styles.",
    ),
    Claim(
        "C3", "article", "DCGAN samples are less blurry than the VAE's, and one pass draws one", evidence.sharpness,
        "A decoder that is unsure answers grey; a discriminator sees that grey at once.",
    ),
    Claim(
        "C4", "article", "a DCGAN suffers mode collapse, most of all with 2 latents after epoch 1", evidence.collapse,
        "With 100 latents recall is nearly that of real images, though the stricter coverage finds many modes thin; "
        "with 2 the generator paints a sheet that misses almost every real image, thinnest after epoch 1.",
    ),
    Claim(
        "C5", "article", "DDPM: high quality, diverse, stable but slow training, slow sampling", evidence.diffusion,
        "One regression loss, no opponent: it falls steadily. Every image costs 200 passes.",
    ),
    Claim(
        "C6", "article", "T = 200 instead of 1000 is a fair saving", evidence.num_timesteps,
        "Five times the passes buy little: with a schedule that fits T, 200 steps are small enough.",
    ),
    Claim(
        "C7", "article", "a noised and denoised image need not resemble the original", evidence.noise_and_denoise,
        "From the last timestep nothing is left to resemble, and one class in ten is kept by chance; the noise of "
        "the first timesteps keeps most classes.",
    ),
    Claim(
        "C9", "article", "VAE: fast and covering; DCGAN: fast and sharp; DDPM: sharp and covering", evidence.corners,
        "The DDPM is as the article says. The DCGAN's odd shapes cost it quality; the VAE covers digits, but not "
        "clothes, whose textures it blurs.",
    ),
    Claim(
        "C13", "report", "on MNIST the ELBO of a VAE is -157.4 nats and the FID of a GAN 175.0", evidence.published,
        "The ELBO is what two latents reach, and says more about their number than about VAEs. An FID from Inception "
        "features cannot be compared with our distance; it is not part of the verdict.",
    ),
    Claim(
        "C17", "survey", "tables of parameters and judgements; training transfers between data sets", evidence.tables,
        "A few strokes are common to digits and clothes: an epoch from another data set's weights goes further than "
        "one from new weights. The discriminator is right about four images of five or fewer.",
    ),
    Claim(
        "C18", "blog", "all of it works on Fashion-MNIST too", evidence.fashion,
        "The same recipes, unchanged; the order of the three models stays the same.",
    ),
    Claim(
        "C19", "article", "a person takes generated images for real", lambda: ("no person has played", {}),
        "The game above is ready, and it recovers the error rates of simulated players; it needs persons.",
    ),
    Claim(
        "D1", "article", "the KL averaged over 100 latents costs quality", evidence.averaged_kl,
        "A hundredth of the penalty lets the encoder leave the prior, from which the decoder then has to draw.",
    ),
    Claim(
        "D4", "article", "betas made for T = 1000 at T = 200 cost quality", evidence.betas,
        "A third of the image's amplitude is left at t = 200, so that training never meets the pure noise from which "
        "sampling starts: strokes come out too bold, and fewer shapes are digits.",
    ),
    Claim(
        "D6", "article", "a generator's ReLU cut at 0.2 costs quality", evidence.cut_relu,
        "Above 0.2 nothing passes a gradient back, and every feature can say little more than on or off.",
    ),
    Claim(
        "D9", "article", "images sampled one by one, in a Python loop, are slow", evidence.sampling_loop,
        "An eager network pays for every layer of every step; one compiled loop over a batch shares the cost.",
    ),
)  # fmt: skip
