"""Claims of the paper against results: the runs, their artefacts, the verdicts."""
