"""Load: many users at once, each a whole generation, on either transport, judged like any other run.

    toolkit load run → run.py starts `python -m locust -f locustfile.py`
    locustfile.py    Locust's side: users, messages between workers, the report at the end
    bridge.py        from Locust's greenlets to one event loop in a real thread, and back
    worker_loop.py   the event loop's side: users' generations, their history, the judges

Only locustfile.py and users.py import Locust, which patches the standard library of its process.
"""
