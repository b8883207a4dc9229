"""Measuring the product on labelled data: how well it triages, side by side with what it must beat."""
