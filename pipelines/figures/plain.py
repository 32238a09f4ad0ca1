"""Figures whose texts are drawn as they stand: names of classes, files and recipes are their owners', no formulas."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text


class PlainFigure(Figure):
    """Matplotlib's figure, which does not read what stands between two dollar signs as mathematics."""

    def draw(self, renderer: Any) -> None:
        """Draw it, whatever wrote the texts."""
        for text in self.findobj(Text):
            text.set_parse_math(False)
        super().draw(renderer)
