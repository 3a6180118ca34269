"""The packages of the wheel; all other metadata stands in ``setup.cfg``."""

from setuptools import find_packages, setup

# setup.cfg cannot add a package to those that it finds: cellzoo.recipes is the folder recipes/.
setup(packages=[*find_packages(include=["cellzoo", "cellzoo.*"]), "cellzoo.recipes"])
