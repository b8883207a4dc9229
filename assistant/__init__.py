"""A self-hosted customer-support assistant that reads the photo."""

__version__ = "0.2.0"
