from ._app import open_app
from ._server import serve

__all__ = ["open_app", "serve"]
