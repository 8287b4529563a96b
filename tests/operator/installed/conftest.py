from rig.installed import small, tiny_base, tiny_image, tunery

__all__ = ["small", "tiny_base", "tiny_image", "tunery"]
