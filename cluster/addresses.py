"""Addresses and names inside the cluster's network namespace. Nothing outside can see them."""

from __future__ import annotations

NODE = "node1"
NODE_IP = "10.88.0.1"
PODS = "10.88.0.0/16"
SERVICES = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
DNS_IP = NODE_IP
DOMAIN = "cluster.local"
API_URL = f"https://{NODE_IP}:6443"
BRIDGE = "cni0"

REGISTRY = "registry.tunery.test"
DATA = "data.tunery.test"

# Where plain servers listen on the loopback, behind the TLS front. A fault proxy that listens on
# a `*_FAULTS` port is put before its server at once; when it goes, the server answers again.
REGISTRY_PORT, REGISTRY_FAULTS_PORT = 5001, 5002
DATA_PORT, DATA_FAULTS_PORT = 8081, 8082
