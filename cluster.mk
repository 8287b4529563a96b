# The cluster of cluster/ (docs/cluster.md). Included by the Makefile; needs its `setup` and BIN.
CLUSTER := $(BIN)/python -m cluster
# Before a command: our cluster while it runs, unless there is another one.
WITH_CLUSTER = $(if $(TUNERY_KUBECONFIG),,$(CLUSTER) with --gpus 1 --)

.PHONY: cluster cluster-packages cluster-up cluster-down cluster-status test-cluster \
	image-base image-tuner image-tuner-whole image-operator image-vllm-cpu test-vllm

cluster: cluster-up ## a real one-node Kubernetes on this machine, built and started

cluster-packages: ## the Debian packages it uses, when root
	@cluster/install-packages.sh

cluster-up: setup cluster-packages
	@$(CLUSTER) up --gpus 1

cluster-down: setup ## stop it and remove all it wrote; binaries stay in the cache
	@$(CLUSTER) down

cluster-status: setup
	@$(CLUSTER) status

test-cluster: setup cluster-packages ## what only real pods can show
	@$(WITH_CLUSTER) $(PYTEST) -n 3 tests/cluster

test-vllm: setup cluster-packages ## the real vLLM in a pod of ours, against PEFT: minutes
	@OMP_NUM_THREADS=1 $(WITH_CLUSTER) $(BIN)/pytest tests/serving/vllm

image-base image-tuner image-operator image-vllm-cpu: image-%: setup cluster-packages
	@$(CLUSTER) image $*

image-tuner-whole: setup cluster-packages ## the 6 GB image as users build it, checked from inside
	@$(CLUSTER) image tuner-whole --check
