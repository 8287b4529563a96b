"""The numbers of a model that no preset knows: from its weights at hand, or from its hub.

Called by tunery/plan.py. Without them there is no estimate, and the smallest batch is taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from presets import Architecture, Preset
from tuning.failure import Failure, Kind
from tuning.run import Places


def of_folder(model: Path) -> Architecture | None:
    """Of a folder with config.json; None for a kind of model that is not known.

    Raises Failure (BAD_CONFIG) when the file cannot be read.
    """
    try:
        found = json.loads((model / "config.json").read_bytes())
    except OSError as error:
        sentence = f"--model {model}: config.json cannot be read: {error.strerror}"
        raise Failure(Kind.BAD_CONFIG, sentence) from error
    except ValueError as error:
        sentence = f"--model {model}: config.json is not JSON; save the model again"
        raise Failure(Kind.BAD_CONFIG, sentence) from error
    return _known(found) if isinstance(found, dict) else None


def of_hub(preset: Preset | None, places: Places) -> Architecture | None:
    """Of a hub id that no preset describes; None when the preset does, or it is not known.

    Raises Failure when the hub does not give its config.json.
    """
    if preset is None or preset.architecture is not None:
        return None
    from tuning.weights import config_of, token_of

    return _known(config_of(preset.id, preset.revision, token_of(places)))


def _known(config: Mapping[str, Any]) -> Architecture | None:
    try:
        return Architecture.from_config(config)
    except ValueError:
        return None
