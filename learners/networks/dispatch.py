"""A mode that sees every operator, without PyTorch's compiler."""

from torch.utils._python_dispatch import TorchDispatchMode


class EagerMode(TorchDispatchMode):
    """A dispatch mode for code that is never compiled.

    PyTorch keeps its compiler away from the operators of a mode, and imports it for that: 1.7 s at the first one.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
