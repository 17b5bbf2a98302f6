"""Settings of a load run as Locust's processes get them: LOAD_* in the environment, and the target's own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from toolkit.errors import UsageError
from toolkit.load.figures import Thresholds

Transport = Literal["realtime", "websocket"]
Client = Literal["light", "official"]
Milliseconds = Annotated[float, Field(gt=0, le=3_600_000)]
_DEFAULTS = Thresholds()


class LoadSettings(BaseSettings):
    """Each field is the variable `LOAD_` and its name in upper case. Percentile limits in ms; 0 switches one off.

    `generations`: how many each user runs, one after the other; 0: until the run is stopped (`--run-time`).
    `run_dir`: where this run's files go; without it a folder of its own in `reports_dir`.
    """

    model_config = SettingsConfigDict(env_prefix="LOAD_", frozen=True, extra="forbid", env_ignore_empty=True)

    transport: Transport = "realtime"
    client: Client = "light"
    generations: int = Field(1, ge=0, le=100_000)
    generation_deadline_s: float = Field(120.0, gt=0, le=86_400)
    reports_dir: Path = Path("reports")
    run_dir: Path | None = None
    embedded: bool = False
    parent_pid: int | None = None

    max_failures: int = Field(_DEFAULTS.max_failures, ge=0)
    p95_start: float = Field(_DEFAULTS.p95_start or 0, ge=0)
    p95_first_event: float = Field(_DEFAULTS.p95_first_event or 0, ge=0)
    p95_answer: float = Field(_DEFAULTS.p95_answer or 0, ge=0)
    p95_delivery: float = Field(_DEFAULTS.p95_delivery or 0, ge=0)
    p95_generation: float = Field(_DEFAULTS.p95_generation or 0, ge=0)

    @property
    def thresholds(self) -> Thresholds:
        """The run's limits."""
        limits = {name: getattr(self, name) or None for name in asdict(_DEFAULTS) if name.startswith("p95_")}
        return Thresholds(max_failures=self.max_failures, **limits)


def load_load_settings(**values: Any) -> LoadSettings:
    """Settings from `values` and the environment. Raises UsageError naming the variable that is wrong."""
    try:
        return LoadSettings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = "LOAD_" + str(first["loc"][0]).upper() if first["loc"] else "a LOAD_ setting"
        known = ", ".join("LOAD_" + field.upper() for field in LoadSettings.model_fields)
        raise UsageError(f"{name}: {first['msg']}.", f"Known settings: {known}.") from None
