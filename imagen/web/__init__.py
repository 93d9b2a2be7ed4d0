"""The page: a dialog, a gallery and an editor in a browser, and its JSON API.

`imagen web` serves it on this machine; `open_app` mounts it in a service that
has its own login. Needs the extra `web`.

_server, _app       hypercorn; the application
_security, _home    who may ask; the secret and port of a home
_pages              the bundle of the front end, whose sources are in frontend/
_calls/             the calls of the API, a module for each subject
_desk/              what lives as long as the server: batches, events, changes
_wire/              requests, rows, filters and errors, as the API writes them
"""

from __future__ import annotations

import lazy_loader

# Starlette and hypercorn come with the extra, and only who serves needs them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
