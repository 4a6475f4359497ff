"""What `make compiled` builds, as far as that can be said without a compiler."""

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_module_that_is_compiled_exists():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pasvport"]["compiled"]
    assert listed
    assert not [name for name in listed if not (ROOT / "src" / "pasvport" / f"{name}.py").is_file()]


def test_the_program_says_what_it_runs():
    origin = importlib.util.find_spec("pasvport.engine.session").origin
    told = "Python" if origin.endswith(".py") else "compiled (mypyc)"
    done = subprocess.run([sys.executable, "-m", "pasvport", "-vv"], capture_output=True, text=True, check=True)
    assert f"Data plane: {told}\n" in done.stdout


def test_an_extension_module_is_noticed(tmp_path):
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    for name in ("pasvport", "pasvport/engine"):
        (tmp_path / name).mkdir()
        source = ROOT / "src" / name / "__init__.py"
        (tmp_path / name / "__init__.py").write_text(source.read_text())
    (tmp_path / "pasvport" / "engine" / f"session{suffix}").touch()
    asked = "from pasvport.engine import is_compiled; print(is_compiled())"
    done = subprocess.run(
        [sys.executable, "-c", asked],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout == "True\n"
