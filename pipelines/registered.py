"""How MLflow loads a registered model: models-from-code over the files that `to_dir` wrote, nothing unpickled.

MLflow keeps a copy of this file beside each model and runs that copy when the model is loaded, so a notebook needs no
more than `mlflow.pyfunc.load_model("models:/demand@champion")`. The copy may be read years later by a newer program:
it leans on nothing but `model.json` and the class named in it.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import polars as pl


def load(folder: Path) -> Any:
    """The model whose `to_dir` wrote this folder, whatever its class.

    Args:
        folder: Holds `model.json` with `{"class": "package.module:Class", …}`.
    """
    described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    module, name = described["class"].split(":")
    return getattr(importlib.import_module(module), name).from_dir(folder)


class RegisteredModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is untyped
    """A model of ours behind MLflow's interface: pandas in, pandas out."""

    def load_context(self, context: Any) -> None:
        """Rebuild the model from its files."""
        self._model = load(Path(context.artifacts["model"]))
        self._schema = pl.Schema(pl.read_parquet_schema(context.artifacts["example"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Predict from rows with the columns of the signature; column types pandas lacks are restored."""
        rows = pl.from_pandas(model_input).select(self._schema.names()).cast(self._schema)
        answer: pl.DataFrame = self._model.predict(rows)
        return answer.to_pandas()


mlflow.models.set_model(RegisteredModel())
