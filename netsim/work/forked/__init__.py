"""The task graph in a forked process, beside the clock's.

The clock runs ahead of the work anyway (:mod:`netsim.work.graph`). So this process can be split in two by a fork, which
copies nothing. The forked process has the tasks with all their results, and does them. This process keeps the clock,
the radio and the records, and tells the other after each round which tasks were ordered, and which were cancelled.
While the forked process does one round, this one simulates the next.
"""
