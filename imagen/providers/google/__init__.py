"""Google: Gemini and Imagen, directly or through Vertex AI."""

from ._adapter import PROVIDERS

__all__ = ["PROVIDERS"]
