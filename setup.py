"""What pyproject.toml cannot say: an installed package carries the model of models/hermes-nano."""

from pathlib import Path
from shutil import copytree

from setuptools import setup
from setuptools.command.build_py import build_py

NANO = Path(__file__).resolve().parent / "models" / "hermes-nano"


class BuildWithModel(build_py):
    """The packages, and the model beside the code that looks for it there."""

    def run(self) -> None:
        """Copy; an editable installation finds the model in the repository."""
        super().run()
        if not self.editable_mode:
            copytree(NANO, Path(self.build_lib) / "inference" / NANO.name, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithModel})
