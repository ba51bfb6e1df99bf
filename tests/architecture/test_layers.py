import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_imports_go_downward_only() -> None:
    # In a process of its own: the tool sets up logging for itself, and with it for every test that comes after.
    run = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    done = subprocess.run([sys.executable, "-c", run], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (
        "A module imports upward or sideways. Move what both need down, or hand it in from above:\n"
        + done.stdout
        + done.stderr
    )
