"""Lists the packages: rules/ installs as boundlint_rules, which pyproject.toml alone cannot say."""

import sys
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

CACHES = ["__pycache__", "*.__pycache__"]


class BuildPy(build_py):
    """Puts a compiled copy of the catalog into the wheel: an installed package may be read-only."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            sys.path.insert(0, str(Path(__file__).parent))
            from boundlint.catalog import compiled, loader

            families = loader.load_catalog().families
            compiled.write(
                loader.shipped_key(), families, Path(self.build_lib, "boundlint", "catalog", compiled.NAME)
            )


setup(
    cmdclass={"build_py": BuildPy},
    packages=[
        *find_namespace_packages(
            include=["boundlint", "boundlint.*", "pytest_boundary", "pytest_boundary.*"], exclude=CACHES
        ),
        "boundlint_rules",
        *(f"boundlint_rules.{name}" for name in find_namespace_packages("rules", exclude=CACHES)),
    ],
    package_dir={"boundlint_rules": "rules"},
)
