"""A Python environment as `pip install 'realtime-migration-toolkit[EXTRA]'` leaves it, made without an index.

Every distribution that the wheel's metadata asks for, and what those ask for, is linked from the environment that runs
the tests; nothing else is there.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

PACKAGE = "realtime-migration-toolkit"


def environment(wheel: Path, extra: str | None, folder: Path) -> Path:
    """Make `folder` a virtual environment with the wheel and what its `extra` brings; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    (packages,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (metadata,) = packages.glob("*.dist-info")
    for found in brought_by(PathDistribution(metadata), {extra} if extra else set()):
        for path in found.files or ():
            # Packages and modules by their top folder or file; programs (squawk) each for itself.
            program = path.parts[0] == ".." and path.parent.name == "bin"
            link = folder / "bin" / path.name if program else packages / path.parts[0]
            if (program or path.parts[0] not in {"..", "__pycache__"}) and not link.exists():
                link.symlink_to(Path(str(found.locate_file(path if program else path.parts[0]))).resolve())
    return folder / "bin" / "python"


def brought_by(package: Distribution, extras: set[str]) -> Iterator[Distribution]:
    """The installed distributions that `package` with `extras` needs, each once, without itself."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [*_asked(package, extras)]
    while waiting:
        wanted = waiting.pop()
        key = (wanted.name.lower(), frozenset(wanted.extras))
        if key in seen or key[0] == PACKAGE:
            continue
        known = any(name == key[0] for name, _ in seen)
        seen.add(key)
        found = distribution(wanted.name)
        waiting += _asked(found, wanted.extras)
        if not known:
            yield found


def _asked(package: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for line in package.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            yield requirement
