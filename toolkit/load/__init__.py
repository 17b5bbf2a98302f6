"""Load: many users at once, each a whole generation, on either transport, judged like any other run.

    run.py           starts the target, and `python -m locust -f locustfile.py` or the rounds of a comparison
    rounds.py        the same users on two transports in turns; comparison.py and compare.py judge them
    instrument.py    the generator measured by itself
    light_client.py  the subscriber that costs the generator little
    locustfile.py    what Locust loads: its users (users.py) and what is attached to its events (hooks.py)
    worker.py        the greenlets' side of a Locust worker
    bridge.py        from greenlets to one event loop in a real thread, and back
    worker_loop.py   the event loop's side of a Locust worker: generations, their history, the judges

Locust patches the standard library of its process, so only locustfile.py, hooks.py and users.py import it, and only
bridge.py, hooks.py, users.py and worker.py import gevent: modules that the rest of the toolkit never imports.
"""
