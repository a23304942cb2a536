"""LightGBM, loaded without the libraries it looks for only to serve interfaces that are not used here.

`import lightgbm` alone loads scikit-learn, and with it pandas and all of `scipy.stats`: more than a second of the start
of every command. `from pipelines.trees import lightgbm` does not, unless they are loaded already; in that process
LightGBM then has no scikit-learn interface. Who wants that, imports scikit-learn or LightGBM first.
"""

import sys

_NOT_USED = ("sklearn", "pandas", "dask", "matplotlib", "graphviz", "pyarrow", "cffi")

_absent = [name for name in _NOT_USED if name not in sys.modules]
sys.modules.update(dict.fromkeys(_absent))  # type: ignore[arg-type]  # to Python, None is a library not installed
try:
    import lightgbm
finally:
    for _name in _absent:
        del sys.modules[_name]

__all__ = ["lightgbm"]
