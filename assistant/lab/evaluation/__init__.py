"""Measuring quality on labelled data: triage, retrieval and reading photos, beside the methods they must beat."""
