"""Every figure of the notebooks; each function returns the figure."""

from trilemma.plotting.diagrams import plot_curves, plot_damage, plot_history, plot_trilemma
from trilemma.plotting.frontier import plot_costs, plot_frontier
from trilemma.plotting.images import (
    plot_images,
    plot_manifold,
    plot_samples,
    quantile_grid,
    save_animation,
    tile_images,
)

__all__ = [
    "plot_costs", "plot_curves", "plot_damage", "plot_frontier", "plot_history", "plot_images", "plot_manifold",
    "plot_samples", "plot_trilemma", "quantile_grid", "save_animation", "tile_images",
]  # fmt: skip
