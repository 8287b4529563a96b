"""The training configuration's insides: names, types, ranges, rules. See tuning/config.py."""
