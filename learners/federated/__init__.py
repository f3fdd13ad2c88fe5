from learners.federated.asynchronous import FedAsync, FedBuff
from learners.federated.fedatt import FedAtt
from learners.federated.fedavg import FedAvg
from learners.federated.fedhgb import CGB, MGB, FedHGB
from learners.federated.fednova import FedNova
from learners.federated.fedprox import FedProx
from learners.federated.yardsticks import CentralizedServer, IsolatedClients

__all__ = [
    "CGB",
    "MGB",
    "CentralizedServer",
    "FedAsync",
    "FedAtt",
    "FedAvg",
    "FedBuff",
    "FedHGB",
    "FedNova",
    "FedProx",
    "IsolatedClients",
]
