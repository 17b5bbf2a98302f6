"""A pytest plugin: scenarios and proofs as tests of a team's own suite, and fixtures to write more.

    pytest --toolkit-scenarios=tests/scenarios     a test for each scenario and transport
    pytest --toolkit-proofs=supabase/migrations    a test for each version and proof

    def test_mine(toolkit_target): …               a system to talk to: embedded, one a session
    def test_rows(toolkit_scratch_database): …     the URL of a database with the migrations, proved once a session

It is found by itself where the package is installed with the extra `pytest`; docs/how-to/pytest.md tells the rest.
"""
