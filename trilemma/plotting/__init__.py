"""Every figure of the notebooks; each function returns the figure."""

from trilemma.plotting.diagrams import plot_curves, plot_damage, plot_history, plot_sweep, plot_trilemma
from trilemma.plotting.frontier import plot_costs, plot_frontier, plot_rates
from trilemma.plotting.images import (
    plot_channels,
    plot_codes,
    plot_images,
    plot_manifold,
    plot_samples,
    quantile_grid,
    save_animation,
    tile_images,
)
from trilemma.plotting.networks import plot_unet
from trilemma.plotting.overview import plot_overview
from trilemma.plotting.points import plot_balls, plot_gaussians, plot_shares

__all__ = [
    "plot_balls", "plot_channels", "plot_codes", "plot_costs", "plot_curves", "plot_damage", "plot_frontier",
    "plot_gaussians", "plot_history", "plot_images", "plot_manifold", "plot_overview", "plot_rates", "plot_samples",
    "plot_shares", "plot_sweep", "plot_trilemma", "plot_unet", "quantile_grid", "save_animation", "tile_images",
]  # fmt: skip
