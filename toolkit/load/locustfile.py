"""The locustfile: `locust -f $(toolkit load locustfile) --headless -u 10 -r 10`.

Settings are LOAD_* (see settings.py) and the target's own variables (API_URL, SUPABASE_URL, …). It works alone, with
`--processes N`, and as `--master` with `--worker`s on other machines. The exit code is the report's: 0 pass, 1 fail,
2 usage, 3 unknown, 4 the target is missing; a run in which nobody worked does not pass.
"""

from __future__ import annotations

import sys

from toolkit.errors import ToolkitError
from toolkit.load.hooks import LocustHooks
from toolkit.load.settings import load_load_settings
from toolkit.load.users import GenerationUser
from toolkit.load.users import RealtimeUser as _Realtime
from toolkit.load.users import WebSocketUser as _WebSocket

try:
    _settings = load_load_settings()
    hooks = LocustHooks(_settings)
except ToolkitError as error:
    sys.stderr.write(f"Error: {error.what}\n  → {error.remedy}\n")
    raise SystemExit(int(error.exit_code)) from None

# Locust takes every user class it finds here; a run has one transport.
LoadUser: type[GenerationUser] = {"realtime": _Realtime, "websocket": _WebSocket}[_settings.transport]
del _Realtime, _WebSocket

hooks.listen()
