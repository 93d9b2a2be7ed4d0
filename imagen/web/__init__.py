"""The page: a dialog, a gallery and an editor in a browser, and its JSON API.

`imagen web` serves it on this machine; `open_app` mounts it in a service that
has its own login. Needs the extra `web`.

_security           secret path, hosts, origins, headers
_home               secret and port of a home; the file that opens the browser
_calls, _openapi    calls of the API: bodies, replies, errors, description
_events             event stream that resumes
_app, _server       the application; hypercorn
_pages              the bundle of the front end
others              the calls, a subject each
"""

from __future__ import annotations

import lazy_loader

# Starlette and hypercorn come with the extra, and only who serves needs them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
