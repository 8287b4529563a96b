from rig.installed import small, tiny_base, tiny_image, tunery
from rig.served import codes_adapter, codes_image

__all__ = ["codes_adapter", "codes_image", "small", "tiny_base", "tiny_image", "tunery"]
