"""The anatomy of a network: what each layer gives, costs and sees; its endpoints; a convolution as a matrix.

    from zoo.anatomy import anatomy, group, totals
    rows = group(anatomy(model), ["inception_3a", "inception_3b"])

`cost` defines what is counted, `receptive_field` what a layer sees.
"""

from zoo.anatomy.cost import Cost, register_cost
from zoo.anatomy.endpoints import features
from zoo.anatomy.matrix import dense_matrix, dense_operations, im2col
from zoo.anatomy.receptive_field import Span, register_field
from zoo.anatomy.table import LayerAnatomy, Totals, anatomy, group, totals

__all__ = [
    "Cost",
    "LayerAnatomy",
    "Span",
    "Totals",
    "anatomy",
    "dense_matrix",
    "dense_operations",
    "features",
    "group",
    "im2col",
    "register_cost",
    "register_field",
    "totals",
]
