"""The learning in a process of its own, beside the clock.

The clock runs ahead of the learning anyway (:mod:`netsim.former.backlog`). So this process can be split in two by a
fork, which copies nothing: the copy has the learner with all its models, trains, combines and judges; this process keeps the
clock, the radio and the records, and tells the copy after each round who trained, who heard whom and who was cut off.
While the copy does one round, this process simulates the next. The copy is told what would have been called here, in
the same order, and does it with the same code: nothing that is learnt depends on where.
"""

from netsim.former.beside.backlog import BacklogBeside
from netsim.former.beside.obstacles import obstacle

__all__ = ["BacklogBeside", "obstacle"]
