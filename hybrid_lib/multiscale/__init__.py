"""Between the scales: averages of the fine field, upscaled tensors, the coarse problem, their coupling."""
