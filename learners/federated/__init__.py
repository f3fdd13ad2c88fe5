from learners.federated.asynchronous import FedAsync, FedBuff
from learners.federated.fedatt import FedAtt
from learners.federated.fedavg import FedAvg
from learners.federated.fedhgb import CGB, MGB, FedHGB
from learners.federated.fednova import FedNova
from learners.federated.fedprox import FedProx

__all__ = [
    "CGB",
    "MGB",
    "FedAsync",
    "FedAtt",
    "FedAvg",
    "FedBuff",
    "FedHGB",
    "FedNova",
    "FedProx",
]
