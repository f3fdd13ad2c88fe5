"""Federated averaging in Flower's simulation, for server.py, which runs this in an environment of Flower's own.

python benchmarks/flower_fedavg.py MODEL ROUNDS [CLIENTS SAMPLES PARTICIPANTS]

By default the clients and samples of plain_fedavg.py, all in every round. Two cores, one for each client that trains.
Prints a line of JSON: seconds a round after the first (in which workers start and make their data), and the test
accuracy of the global model after the last.
"""

from __future__ import annotations

import json
import sys
import time

import flower_client
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from plain_fedavg import Case, accuracy, data_of, network


def main() -> None:
    """Run it."""
    model, rounds = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(1)
    torch.manual_seed(Case().seed)
    clients, samples, chosen = map(int, sys.argv[3:6] or (Case().clients, Case().samples, Case().clients))
    data, net = data_of(Case(clients=clients, samples=samples)), network(model)
    ends: list[float] = []
    found: list[float] = []
    app = ServerApp()

    def evaluate(round: int, arrays: ArrayRecord) -> MetricRecord | None:
        ends.append(time.perf_counter())
        if round == rounds:
            net.load_state_dict(arrays.to_torch_state_dict())
            found.append(accuracy(net, data))
        return None

    @app.main()
    def serve(grid: Grid, context: Context) -> None:
        strategy = FedAvg(
            fraction_train=chosen / clients,
            fraction_evaluate=0.0,
            min_train_nodes=chosen,
            min_available_nodes=clients,
        )
        strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(net.state_dict()),
            num_rounds=rounds,
            train_config=ConfigRecord({"model": model, "clients": clients, "samples": samples}),
            evaluate_fn=evaluate,
        )

    resources = {
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        "init_args": {"num_cpus": 2, "include_dashboard": False},
    }
    run_simulation(app, flower_client.app, clients, backend_config=resources)
    print(json.dumps({"seconds": (ends[-1] - ends[1]) / (rounds - 1), "accuracy": found[0]}))


if __name__ == "__main__":
    main()
