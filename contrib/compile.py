"""Compile the data plane with mypyc, beside the sources: `python contrib/compile.py [--install | --remove]`.

The package is copied to build/compiled and the modules that pyproject.toml lists ([tool.pasvport] compiled) become
extension modules there; nothing is built in the source tree, so an edit is never hidden by an extension that is older
than it. With `build/compiled` first in PYTHONPATH, or after --install, Python finds the copy before the sources.
`pasvport -vv` says which one runs. Needs mypy (part of the `dev` extra) and a C compiler.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "build" / "compiled"
# The `.pth` files of an environment are read in order of their names; this one comes before `__editable__`.
HOOK = Path(sysconfig.get_path("purelib")) / "__compiled__.pasvport.pth"


def modules() -> list[str]:
    """Paths of the modules to compile, relative to the source folder."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [f"pasvport/{name}.py" for name in settings["tool"]["pasvport"]["compiled"]]


def compile_copy() -> None:
    """Make build/compiled anew. Raises CalledProcessError when the compiler fails; then there is none."""
    shutil.rmtree(TARGET, ignore_errors=True)
    work = TARGET.with_suffix(".new")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(ROOT / "src" / "pasvport", work / "pasvport", ignore=shutil.ignore_patterns("__pycache__"))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [sys.executable, "-m", "mypyc", "--config-file", os.devnull, "--python-version", version, *modules()]
    try:
        subprocess.run(command, cwd=work, check=True, env={**os.environ, "CFLAGS": "-O2 -g0"})
    except subprocess.CalledProcessError:
        shutil.rmtree(work)
        raise
    for leftover in ("build", ".mypy_cache"):
        shutil.rmtree(work / leftover, ignore_errors=True)
    work.rename(TARGET)


def main() -> int:
    parser = argparse.ArgumentParser(description="compile the data plane with mypyc into build/compiled")
    parser.add_argument("--install", action="store_true", help="let this environment use it from now on")
    parser.add_argument("--remove", action="store_true", help="let this environment use the sources again")
    options = parser.parse_args()
    if options.remove:
        HOOK.unlink(missing_ok=True)
        shutil.rmtree(TARGET, ignore_errors=True)
        return 0
    compile_copy()
    print(f"compiled {len(modules())} modules into {TARGET.relative_to(ROOT)}")
    if options.install:
        HOOK.write_text(f"{TARGET}\n")
        print(f"{Path(sys.executable).parent}/pasvport uses them now")
    return 0


if __name__ == "__main__":
    sys.exit(main())
