"""What the operator writes: KAITO's status and what is added to it. The same in both versions.

KAITO's v1alpha1 lacks most of it, and then server-side apply of the status of an object that was
made through v1alpha1 fails for ever: its fields are not in that version's schema.
"""

from __future__ import annotations

from scripts.crd.shape import Schema, items, number, part, text, text_map, texts

_INT64 = {"format": "int64"}
_REASON = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_TYPE = rf"^({_LABEL}(\.{_LABEL})*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"


def seen() -> Schema:
    properties = {
        "state": text("Pending, Running, Succeeded or Failed; Ready or NotReady for inference."),
        "conditions": items("What is true of the Workspace.", _condition()),
        "workerNodes": texts("The nodes it runs on."),
        "targetNodeCount": number("How many nodes it needs.", format="int32"),
        "observedGeneration": number("The generation that this status speaks of.", **_INT64),
        "performance": _performance(),
        "run": _run(),
        "attempts": items("The newest attempts of the run, oldest first.", _attempt()),
        "progress": _progress(),
        "output": _output(),
        "adapters": items("What is served beside the model.", _adapter()),
    }
    return part("What was seen and what came of it.", properties)


def _condition() -> Schema:
    """metav1.Condition."""
    properties = {
        "type": text("What it says, in one word.", maxLength=316, pattern=_TYPE),
        "status": text("Whether it is so.", enum=["True", "False", "Unknown"]),
        "reason": text("Why, in one word.", minLength=1, maxLength=1024, pattern=_REASON),
        "message": text("Why, in a sentence, and what to do.", maxLength=32768),
        "lastTransitionTime": text("Since when.", format="date-time"),
        "observedGeneration": number("The generation it speaks of.", minimum=0, **_INT64),
    }
    required = ["lastTransitionTime", "message", "reason", "status", "type"]
    return part("One condition.", properties, required)


def _performance() -> Schema:
    metric = part(
        "One measurement.",
        {
            "value": text("The number."),
            "unit": text("Its unit."),
            "description": text("What was measured."),
            "config": text_map("How it was measured."),
        },
        ["description", "value"],
    )
    metrics: Schema = {
        "type": "object",
        "description": "Measurements by name.",
        "additionalProperties": metric,
    }
    return part("What a served model can do.", {"metrics": metrics})


def _run() -> Schema:
    properties = {
        "revision": number("Its number: a spec that returns keeps its old one.", **_INT64),
        "hash": text("Of everything that was asked for."),
        "snapshot": text("The ConfigMap with what was resolved."),
        "startedAt": text("When the Job started, RFC 3339."),
        "finishedAt": text("When it ended, RFC 3339."),
        "outcome": text("Empty while it runs.", enum=["", "Succeeded", "Failed"]),
    }
    return part("The run of the present spec.", properties)


def _attempt() -> Schema:
    properties = {
        "attempt": number("Its number, from 1."),
        "pod": text("The pod's name."),
        "node": text("The node it ran on."),
        "startedAt": text("RFC 3339."),
        "endedAt": text("RFC 3339; absent while it runs."),
        "kind": text("Of its failure, one word (docs/failures.md)."),
        "sentence": text("What happened and what to do."),
        "step": number("The step it reached.", **_INT64),
        "of": number("The steps there are.", **_INT64),
        "keptStep": number("Of the checkpoint that it left to the next.", **_INT64),
    }
    return part("One pod's try.", properties)


def _progress() -> Schema:
    properties = {
        "step": number("Steps done.", **_INT64),
        "of": number("Steps there are.", **_INT64),
        "percent": number("Of the steps, done.", minimum=0, maximum=100),
        "loss": text("The newest training loss."),
        "tokensPerSecond": text("How fast."),
        "eta": text("Time to go, for example 4m10s."),
        "keptStep": number("Of the newest checkpoint that outlives the pod.", **_INT64),
        "gpuSeconds": number("GPUs times seconds, all attempts together.", **_INT64),
        "updatedAt": text("RFC 3339."),
    }
    return part("How far the training is.", properties)


def _adapter() -> Schema:
    properties = {
        "name": text("As the Workspace names it: what clients write as model."),
        "workspace": text("The tuning Workspace that made it, as it was written."),
        "image": text("Its image; that of a tuning Workspace by digest, and kept."),
        "strength": text("As the Workspace names it; absent where it does not: 1."),
        "baseRevision": text("The commit of the model that it was trained on."),
        "pullSecret": text("Registry Secret of the tuning Workspace, which pulls it."),
        "pulled": {
            "type": "boolean",
            "description": "A kubelet could not mount its image, so the pod pulls it.",
        },
        "digest": text("Of the image that is served."),
        "served": {"type": "boolean", "description": "Whether it answers."},
        "reason": text("Why it is not served, one word (docs/serving.md)."),
        "message": text("Why it is not served and what to do, or a warning."),
    }
    return part("One adapter.", properties, ["name"])


def _output() -> Schema:
    properties = {
        "image": text("Where the adapter was pushed."),
        "digest": text("What was pushed: pull it by this."),
        "sizeBytes": number("Of the adapter.", **_INT64),
        "baseModel": text("The model it adapts."),
        "baseRevision": text("The model's revision."),
        "metrics": text_map("Numbers of the training, by name."),
    }
    return part("The adapter.", properties)
