"""Mathematics and networks that several families share: schedules, samplers, the U-Net."""
