"""Scenarios and proofs as pytest's items: a YAML file is a collector, each transport and each proof a test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import ToolkitError
from toolkit.pytest.stage import Stage
from toolkit.report.record import Check, Verdict
from toolkit.scenarios.model.reading import load
from toolkit.scenarios.model.scenario_file import Scenario

GROUP = "toolkit"
SIGNS = {Verdict.FAIL: "✘", Verdict.UNKNOWN: "?", Verdict.PASS: "✔"}


class NotPassed(Exception):
    """What did not pass, as lines for a person."""

    def __init__(self, lines: Iterable[str]) -> None:
        super().__init__("\n".join(lines))


class _Item(pytest.Item):
    """A test on the stage. Failures are told in words; a traceback would show our own code."""

    def __init__(self, *, stage: Stage, **rest: Any) -> None:
        super().__init__(**rest)
        self.stage = stage
        # Under xdist's `--dist loadgroup` one worker has them all, and with them one system.
        self.add_marker(pytest.mark.xdist_group(GROUP))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        error = excinfo.value
        if isinstance(error, NotPassed):
            return str(error)
        if isinstance(error, ToolkitError):
            return f"{error.what}\n  → {error.remedy}"
        return super().repr_failure(excinfo, style)


class ScenarioFile(pytest.File):
    """One scenario's YAML file."""

    def __init__(self, *, stage: Stage, transports: frozenset[str], **rest: Any) -> None:
        super().__init__(**rest)
        self._stage, self._transports = stage, transports

    def collect(self) -> Iterator[pytest.Item]:
        scenario = load(self.path)
        for transport in scenario.transports:
            if transport in self._transports:
                yield ScenarioItem.from_parent(
                    self,
                    name=f"{scenario.scenario}[{transport}]",
                    stage=self._stage,
                    scenario=scenario,
                    transport=transport,
                )

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, ToolkitError):
            return f"{excinfo.value.what}\n  → {excinfo.value.remedy}"
        return super().repr_failure(excinfo)


class ScenarioItem(_Item):
    """One scenario on one transport; passes when every judge does."""

    def __init__(self, *, scenario: Scenario, transport: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.scenario, self.transport = scenario, transport
        self.add_marker(pytest.mark.toolkit_scenario)

    def runtest(self) -> None:
        result = self.stage.run(self.stage.scenario(self.scenario, self.transport))
        self.user_properties.append(("toolkit_run", str(result.folder)))
        if result.verdict is not Verdict.PASS:
            page = result.folder / "report.html"
            raise NotPassed([*_told(result.report.checks), f"Page of the run: {page}"])

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.scenario.title} ({self.transport})"


class MigrationsFolder(pytest.Collector):
    """A folder of migrations."""

    def __init__(self, *, stage: Stage, migrations: Path, **rest: Any) -> None:
        super().__init__(**rest)
        self._stage, self._migrations = stage, migrations

    def collect(self) -> Iterator[pytest.Item]:
        from toolkit.migrate.folder.files import read_folder
        from toolkit.migrate.prove.run import PROOFS

        for migration in read_folder(self._migrations).migrations:
            for proof in PROOFS:
                yield ProofItem.from_parent(
                    self,
                    name=f"{migration.label}[{proof.name}]",
                    stage=self._stage,
                    migrations=self._migrations,
                    version=migration.version,
                    proof=proof.name,
                )

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, ToolkitError):
            return f"{excinfo.value.what}\n  → {excinfo.value.remedy}"
        return super().repr_failure(excinfo)


class ProofItem(_Item):
    """One proof of one version; passes when no claim is refuted, and is skipped when none could be looked at."""

    def __init__(self, *, migrations: Path, version: str, proof: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.migrations, self.version, self.proof = migrations, version, proof
        self.add_marker(pytest.mark.toolkit_proof)

    def runtest(self) -> None:
        claims = self.stage.run(self.stage.proof(self.migrations, self.version, self.proof))
        if any(claim.verdict is Verdict.FAIL for claim in claims):
            raise NotPassed(_told(claim.as_check() for claim in claims))
        unlooked = [claim for claim in claims if claim.verdict is Verdict.UNKNOWN]
        if claims and len(unlooked) == len(claims):
            pytest.skip("not checked: " + "; ".join(claim.basis for claim in unlooked))

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.migrations, 0, self.name


def _told(checks: Iterable[Check]) -> Iterator[str]:
    """What failed, then what is unknown, each with its witness and remedy."""
    order = list(SIGNS)
    for check in sorted(
        (one for one in checks if one.verdict is not Verdict.PASS), key=lambda c: order.index(c.verdict)
    ):
        yield f"{SIGNS[check.verdict]} {check.title}  [{check.id}]"
        yield from (f"    {line}" for line in (check.detail, *check.witness) if line)
        if check.remedy:
            yield f"  → {check.remedy}"
