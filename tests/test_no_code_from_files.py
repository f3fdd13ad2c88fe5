"""No file's content is run as code: pickles go between processes of one run only, read from the source."""

import ast

import pytest
from test_arrows import IMPORTS, MODULES

BETWEEN_PROCESSES = {
    "learners.checks.graph",
    "netsim.work.executors.remote",
    "netsim.work.forked.orders",
    "netsim.work.forked.process",
    "netsim.work.forked.service",
    "netsim.work.packing",
}
"""Modules that may read pickles."""

AS_VALUES = {"torch.load": "weights_only=True", "np.load": "allow_pickle=False"}
"""What must be written where these are called."""

NEVER = {"eval", "exec", "pd.read_pickle", "yaml.unsafe_load", "yaml.full_load"}
FORMATS = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
"""Modules that run what a file says."""


def dangers(tree):
    """Calls in ``tree`` that would run what they read."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called, how = ast.unparse(node.func), [ast.unparse(word) for word in node.keywords]
            wanted = AS_VALUES.get(called)
            if (wanted and wanted not in how) or called in NEVER or called.startswith("pickle.load"):
                yield ast.unparse(node)
        elif isinstance(node, ast.ClassDef):
            yield from (base for base in map(ast.unparse, node.bases) if base == "pickle.Unpickler")


@pytest.mark.parametrize("package", ["netsim", "learners", "analysis"])
def test_only_processes_of_one_run_exchange_pickles(package):
    for module, path in MODULES.items():
        if module.startswith(package) and module not in BETWEEN_PROCESSES:
            assert list(dangers(ast.parse(path.read_text()))) == [], module
            exceptions_only = (
                module == "learners.data.sets.images"
            )  # torchvision's, for files of known checksums
            assert exceptions_only or not FORMATS & IMPORTS[module], module


@pytest.mark.parametrize(
    "text",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "pickle.loads(text)",
        "class A(pickle.Unpickler): pass",
        "eval(text)",
    ],
)
def test_the_search_finds_what_it_searches(text):
    assert len(list(dangers(ast.parse(text)))) == 1
    assert not list(
        dangers(ast.parse("np.load(path, allow_pickle=False); torch.load(path, weights_only=True)"))
    )
