"""What Tunery knows of models and cards. Data in models.yaml and gpus.yaml; frozen values here.

Leftmost package: everything may import it, it imports nothing of ours.
"""

from presets.architecture import Architecture, Linear
from presets.catalog import Catalog, Gpu, Preset
from presets.load import PresetError, load

__all__ = ["Architecture", "Catalog", "Gpu", "Linear", "Preset", "PresetError", "load"]
