"""The ansatz and its derivatives, the strong residual, domains and collocation points (paper (2.1), (2.8), (3.24))."""
