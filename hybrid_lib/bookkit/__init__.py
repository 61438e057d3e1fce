"""What the chapters import beside the solver: numbers for the prose, tables, sliders, spectra."""
