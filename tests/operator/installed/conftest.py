from rig.installed import small, tiny_base, tiny_image, tunery
from rig.served import codes_adapter, codes_image
from rig.turns import turn

__all__ = ["codes_adapter", "codes_image", "small", "tiny_base", "tiny_image", "tunery", "turn"]
