"""What one run is made of: model, trainer, checkpoints, export. See tuning/train.py."""
