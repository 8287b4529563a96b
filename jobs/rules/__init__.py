"""The rules of a Workspace, one subject a file. See jobs/validate.py."""
