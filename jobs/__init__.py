"""What a Workspace means: data → data. No network, no cluster, no torch."""
