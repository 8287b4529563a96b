from rig.kube import kube, machine, namespace, pytest_collection_modifyitems
from rig.second import second
from rig.turns import turn

__all__ = ["kube", "machine", "namespace", "pytest_collection_modifyitems", "second", "turn"]
