"""An inference Workspace → the objects that serve it. jobs/serve.py puts the parts together."""
