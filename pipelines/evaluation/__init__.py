"""What a network is worth: its answers to labelled examples in numbers and figures, its speed, and a page of it all.

    from pipelines.evaluation import evaluate
    evaluate(model, data.validation, data.class_names).accuracy

`record` writes a run's evaluation into the run, `sources` finds what `zoo evaluate` names.
"""

from pipelines.evaluation.answers import Evaluation, evaluate
from pipelines.evaluation.findings import Findings, examine
from pipelines.evaluation.record import record_evaluation

__all__ = ["Evaluation", "Findings", "evaluate", "examine", "record_evaluation"]
