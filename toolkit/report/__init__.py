"""One `Report` record for every command, and pure renderers of it.

`record` — the record. `as_terminal`, `as_json`, `as_html`, `as_junit` — each `render(report) -> str`. `pictures` —
inline SVG for the page. `redact` — what may never be shown.
"""
