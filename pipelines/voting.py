"""How the answers of several networks become one."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from pipelines.errors import UsageError

Vote = Literal["mean", "majority"]
VOTES: tuple[Vote, ...] = ("mean", "majority")


@keras.saving.register_keras_serializable("conv_zoo")
class CombinedVote(keras.layers.Layer):
    """Log-probabilities from the scores of several networks.

    A member's probabilities are the softmax of its scores.

    - **mean**: the logarithm of the members' mean probabilities.
    - **majority**: each of the n members votes for its likeliest class (of equal ones the first). The mean
      probabilities count as one more vote, divided among the classes: class c gets (votes_c + mean_c) / (n + 1). So the
      class with the most votes is the likeliest, for a lead of one vote is more than any lead in the mean; classes with
      equally many votes are ranked by the mean, as far as float32 can tell.

    Args:
        vote: "mean" or "majority".

    Input: a list of scores, each [batch, classes]. Output: float32 [batch, classes], whatever the members compute in;
    the exponentials of a row sum to 1. It has no weights.
    """

    def __init__(self, vote: Vote, **options: Any) -> None:
        if vote not in VOTES:
            raise ValueError(f"`vote` is one of {', '.join(VOTES)}. Received: vote={vote!r}")
        # No member's half precision may decide between two classes, or leave the sum far from 1.
        super().__init__(**{"dtype": "float32", **options})
        self.vote = vote

    def call(self, scores: Sequence[Any]) -> Any:
        """Float32 [batch, classes]."""
        members = ops.log_softmax(ops.stack(scores, axis=1), axis=-1)
        mean = ops.logsumexp(members, axis=1) - ops.log(float(len(scores)))
        if self.vote == "mean":
            return mean
        classes = mean.shape[-1]
        votes = ops.sum(ops.one_hot(ops.argmax(members, axis=-1), classes, dtype="float32"), axis=1)
        # Where nobody voted for a class the mean is all there is, and exact however small it is.
        shares = ops.where(votes > 0, ops.log(votes + ops.exp(mean)), mean)
        return shares - ops.log(float(len(scores) + 1))

    def compute_output_shape(self, input_shape: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """(batch, classes)."""
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "vote": self.vote}


def combine(members: Sequence[keras.Model], vote: Vote, name: str) -> keras.Model:
    """The networks as one, which takes the same input and returns log-probabilities [batch, classes], float32.

    The members are its layers `member_1`, `member_2`, … and share their layers and weights with the networks given.
    Raises UsageError for fewer than two networks, or for networks that do not take and answer the same.
    """
    if len(members) < 2:
        raise UsageError(f"An ensemble has at least two members; received {len(members)}.")
    first = members[0]
    for i, member in enumerate(members[1:], start=2):
        for what, of_first, of_other in (
            ("takes inputs", first.input.shape[1:], member.input.shape[1:]),
            ("answers with scores", first.output.shape[1:], member.output.shape[1:]),
        ):
            if of_first != of_other:
                raise UsageError(
                    f"The members of an ensemble take and answer the same; the first {what} of the shape {of_first}, "
                    f"number {i} of {of_other}."
                )
    image = keras.Input(first.input.shape[1:], name=first.input.name, dtype="float32")
    # Each under a name of its own: networks of one recipe have the same.
    named = [keras.Model(member.input, member.output, name=f"member_{i}") for i, member in enumerate(members, start=1)]
    scores = [member(image) for member in named]
    return keras.Model(image, CombinedVote(vote, name="vote")(scores), name=name)
