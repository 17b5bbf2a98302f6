"""Behaviour of the realtime migration that one session cannot show: concurrent writers and workers, and each role.

Probes commit rows, since other sessions must see them. All of them belong to a user called `toolkit_probe_<random>`
and are removed when the probe ends, whatever happened; what a killed run left behind, the next one removes.

`chosen` — which there are, and for which version. `writers`, `roles`, `races`, `waking` — what they look at. `probe` —
what they share.
"""
