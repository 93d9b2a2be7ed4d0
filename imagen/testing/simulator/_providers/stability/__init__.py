from .server import SIMULATED

__all__ = ["SIMULATED"]
