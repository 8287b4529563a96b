"""What a user writes: resource, tuning, inference. KAITO's fields, one for one, in each version."""

from __future__ import annotations

from scripts.crd import rules
from scripts.crd.shape import Schema, anything, items, number, part, text, text_map, texts


def wanted(beta: bool) -> dict[str, Schema]:
    """The top-level fields beside metadata and status; there is no `spec`."""
    return {
        "resource": _resource(beta),
        "tuning": _tuning(beta),
        "inference": _inference(beta),
    }


def _deprecated(description: str, beta: bool) -> str:
    return f"{description} Deprecated in v1beta1." if beta else description


def _resource(beta: bool) -> Schema:
    default = {} if beta else {"default": "Standard_NC24ads_A100_v4"}
    properties = {
        "count": number(
            _deprecated("How many nodes; 1 for tuning.", beta),
            default=1,
            minimum=1,
            **{"x-kubernetes-validations": rules.count()},
        ),
        "instanceType": text(
            "The cloud's name of the node size, which says how many GPUs of which kind it has. "
            "Needed where nodes are provisioned, empty where nodes are brought along.",
            **default,
            **{"x-kubernetes-validations": rules.instance_type()},
        ),
        "labelSelector": _label_selector(),
        "preferredNodes": texts(_deprecated("Names of nodes to prefer. Not read.", beta)),
    }
    if beta:
        properties["partition"] = _partition()
    description = "Which nodes the work needs."
    return part(description, properties, ["labelSelector"], rules.resource(beta))


def _label_selector() -> Schema:
    expression = part(
        "One requirement.",
        {
            "key": text("The label."),
            "operator": text("In; with one value it means the same as matchLabels."),
            "values": texts("What the label may be.", **{"x-kubernetes-list-type": "atomic"}),
        },
        ["key", "operator"],
    )
    properties = {
        "matchLabels": text_map("Labels that a node must have."),
        "matchExpressions": items(
            "The same, written at length.", expression, **{"x-kubernetes-list-type": "atomic"}
        ),
    }
    return part(
        "Labels of the nodes to use. It cannot be changed.",
        properties,
        rules=rules.label_selector(),
        **{"x-kubernetes-map-type": "atomic"},
    )


def _partition() -> Schema:
    properties = {
        "mode": text("mig is a slice of one card, accelerator whole cards.", enum=_MODES),
        "profile": text("Of mig: the slice's size, for example 2g.20gb."),
        "count": number("Of accelerator: how many cards.", minimum=1),
    }
    description = "A share of a node's cards, for inference on nodes that are brought along."
    return part(description, properties, ["mode"], rules.partition())


_MODES = ["mig", "accelerator"]


def _preset(beta: bool) -> Schema:
    options = {
        "image": text(_deprecated("An image that holds the model.", beta)),
        "imagePullSecrets": texts(_deprecated("Secrets to pull that image with.", beta)),
    }
    if beta:
        options["modelAccessSecret"] = text(
            "Secret with the key HF_TOKEN, for models whose licence must be accepted."
        )
    properties = {
        "name": text("A preset's name, or a Hugging Face id as org/name."),
        "accessMode": text(
            _deprecated("Whether the model's image is public or private.", beta),
            default="public",
            enum=["public", "private"],
        ),
        "presetOptions": part("What the model needs to be fetched.", options),
    }
    return part("The model. It cannot be changed.", properties, ["name"])


def _source(description: str, *, adapter: bool = False) -> Schema:
    properties = {
        "name": text("A name for it, unique in the Workspace."),
        "urls": texts("Files to download: http(s), or one hf://datasets/org/name."),
        "volumeSource": anything("A volume as in a pod, for example persistentVolumeClaim."),
        "image": text("An image that holds it in its folder /data."),
        "imagePullSecrets": texts("Registry Secrets of the same namespace."),
    }
    if adapter:
        properties["workspace"] = text(
            "A tuning Workspace whose adapter it is: its name, or namespace/name. It is waited for."
        )
    return part(description, properties, rules=() if adapter else rules.source())


def _tuning(beta: bool) -> Schema:
    output = {
        "volumeSource": anything("A volume as in a pod, for example persistentVolumeClaim."),
        "image": text("Where to push the adapter: registry/repository:tag."),
        "imagePushSecret": text("Registry Secret of the same namespace that may push there."),
    }
    properties = {
        "preset": _preset(beta),
        "method": text("lora, or qlora for a base model in 4 bits; letter case does not count."),
        "config": text(
            "ConfigMap of the same namespace with the key training_config.yaml. Without it the "
            "method's defaults are used."
        ),
        "input": _source("The training data: one of urls, volumeSource and image."),
        "output": part(
            "Where the adapter goes: one of image and volumeSource.",
            output,
            rules=rules.destination(),
        ),
    }
    return part("Fine-tune a model.", properties, ["input", "output"], rules.tuning())


def _inference(beta: bool) -> Schema:
    adapter = part(
        "One adapter.",
        {
            "source": _source(
                "Where it is: its name, and one of image, volumeSource and workspace.", adapter=True
            ),
            "strength": text("How much of it, from 0 to 1, in quotes."),
        },
    )
    properties = {
        "preset": _preset(beta),
        "template": anything("A pod template of your own, instead of preset."),
        "config": text("ConfigMap of the same namespace with the key inference_config.yaml."),
        "adapters": items("LoRA adapters to serve beside the model.", adapter),
    }
    return part("Serve a model.", properties, rules=rules.inference())
