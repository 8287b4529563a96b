from rig.kube import kube, machine, namespace, pytest_collection_modifyitems

__all__ = ["kube", "machine", "namespace", "pytest_collection_modifyitems"]
