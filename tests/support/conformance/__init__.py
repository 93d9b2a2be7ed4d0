"""Fixtures that the official conformance suite looks for on a server."""
