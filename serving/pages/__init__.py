"""The pages: plain HTML in the same process, behind the same keys, complete without JavaScript."""

from serving.pages.routes import routes

__all__ = ["routes"]
