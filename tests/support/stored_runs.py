"""What must hold of the folder that a run of a scenario leaves: the same verdict when judged again, and no secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.pytest.items import ScenarioItem
from toolkit.report import as_json
from toolkit.scenarios import verdicts
from toolkit.scenarios.model.reading import load
from toolkit.scenarios.recorded.history import load as load_history
from toolkit.targets.target import Target


def problems_of(folder: Path, target: Target) -> list[str]:
    """What is wrong with a stored run on `target`; nothing is the hope."""
    told = as_json.load((folder / "report.json").read_bytes())
    again = verdicts.report(load(folder / "scenario.yaml"), load_history(folder / "history.jsonl"), target=told.target)
    before = {check.id: check.verdict for check in told.checks}
    after = {check.id: check.verdict for check in again.checks}
    problems = [
        f"{id}: {before.get(id)}, judged again {after.get(id)}"
        for id in sorted(before.keys() | after.keys())
        if before.get(id) != after.get(id)
    ]
    stored = "".join(path.read_text() for path in folder.iterdir())
    secrets = (target.jwt_secret, target.anon_key, target.service_role_key)
    if any(secret in stored for secret in secrets if secret) or "eyJ" in stored:
        problems.append("a secret of the target is stored")
    return problems


class EveryStoredRun:
    """A plugin of pytest: looks at what each scenario of `--toolkit-scenarios` left when it had passed."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        yield
        if isinstance(item, ScenarioItem):
            folder = Path(dict(item.user_properties)["toolkit_run"])
            assert problems_of(folder, item.stage.run(item.stage.system()).target) == []
