"""A model server somewhere else, asked through one gate."""
