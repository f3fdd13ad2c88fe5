"""The task graph in a forked process.

The simulated clock runs ahead of the tasks anyway (:mod:`netsim.work.graph`). So the simulator can fork, which copies
nothing at first. The forked process does the tasks and keeps their results. The first process keeps the clock, the
radio and the records. After each round it sends the tasks that were ordered or cancelled. While the forked process does
the tasks of one round, the first process simulates the next.
"""
