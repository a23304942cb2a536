"""What `make` cannot install by itself: says which package is missing, before anything is created."""

import ctypes
import importlib.util
import sys

missing = []
if sys.version_info < (3, 11):
    missing.append(f"python3 is {sys.version.split()[0]}; Purvey needs 3.11 or newer (Debian, Ubuntu: python3.11)")
for module in ("venv", "ensurepip"):
    if importlib.util.find_spec(module) is None:
        missing.append(f"python3 has no {module} (Debian, Ubuntu: apt-get install python3-venv)")
        break
if sys.platform.startswith("linux"):
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        missing.append("LightGBM needs libgomp (Debian, Ubuntu: apt-get install libgomp1; Fedora: dnf install libgomp)")
if missing:
    sys.exit("Purvey cannot be set up yet:\n  " + "\n  ".join(missing))
