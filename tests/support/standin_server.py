# ruff: noqa: T201 - its output is what is examined
"""Stands in for the reference server where only the supervision of a process is examined.

Same command line and readiness line; STANDIN says how to misbehave.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"database_url": os.environ.get("DATABASE_URL", ""), "argv": sys.argv}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--role", default="all")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    conduct = os.environ.get("STANDIN", "")
    print("starting with secret", os.environ.get("SUPABASE_JWT_SECRET", ""), file=sys.stderr, flush=True)
    if conduct == "exits":
        print("cannot start: something is missing", file=sys.stderr, flush=True)
        sys.exit(3)
    if conduct == "silent":
        time.sleep(600)
    if conduct == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if conduct == "grandchild":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(f"grandchild {child.pid}", flush=True)
    server = HTTPServer((options.host, options.port), _Handler)
    print(f"ready http://{options.host}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
