"""Fit one model with lifetimes, in an environment that has it, and print what it took as JSON.

python lifetimes_fit.py bg|mbg|pareto|gamma_gamma FOLDER     (FOLDER: x.npy, recency.npy, age.npy, mean.npy)
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from lifetimes import BetaGeoFitter, GammaGammaFitter, ModifiedBetaGeoFitter, ParetoNBDFitter

FITTERS = {
    "bg": BetaGeoFitter,
    "mbg": ModifiedBetaGeoFitter,
    "pareto": ParetoNBDFitter,
    "gamma_gamma": GammaGammaFitter,
}


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    warnings.simplefilter("ignore")
    x, recency, age, mean = (np.load(folder / f"{kind}.npy") for kind in ("x", "recency", "age", "mean"))
    wall, processor = time.perf_counter(), time.process_time()
    columns = (x + 1, mean) if name == "gamma_gamma" else (x, recency, age)
    fitted = FITTERS[name]().fit(*columns)
    figures = {"seconds": time.perf_counter() - wall, "processor_seconds": time.process_time() - processor}
    print(json.dumps(figures | {"parameters": [float(value) for value in fitted.params_]}))


if __name__ == "__main__":
    main()
