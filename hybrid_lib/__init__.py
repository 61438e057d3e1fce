"""Hybrid physics-informed neural network solver for multiscale diffusion, constrained by a coarse finite-element problem."""

__version__ = "0.1.0"
