"""A real one-node Kubernetes on a bare Linux machine, from package registries alone.

Read in this order: parts (what is pinned) → build (source to binaries) → machine (the namespaces
it all runs in) → pki, config, daemons (data to text) → up (the recipe) → faults (for tests).
Nothing of Tunery imports this package; tests and the demo do.
"""
