"""A client of Flower's, for flower_fedavg.py: a module of its own, so that its worker reads the data once.

Defined in ``__main__``, Flower sends the client's code with every message, data are read anew for each, and a round
takes several times as long.
"""

from __future__ import annotations

from functools import cache

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from plain_fedavg import Case, Data, data_of, network, train_epoch

app = ClientApp()


@cache
def data_here(clients: int, samples: int) -> Data:
    """Return the data of all clients, made once in each worker."""
    torch.set_num_threads(1)
    return data_of(Case(clients=clients, samples=samples))


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train an epoch from what the server sent."""
    told = message.content["config"]
    data = data_here(int(told["clients"]), int(told["samples"]))
    case, client = Case(), int(context.node_config["partition-id"])
    net = network(str(told["model"]))
    net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(net.parameters(), lr=case.learning_rate)
    train_epoch(net, optimizer, data.x[client], data.y[client], case.batch_size)
    answer = {
        "arrays": ArrayRecord(net.state_dict()),
        "metrics": MetricRecord({"num-examples": len(data.x[client])}),
    }
    return Message(content=RecordDict(answer), reply_to=message)
