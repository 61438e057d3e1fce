"""Commands with more to them than options: ``hybrid solve``, its problem file and its report."""
