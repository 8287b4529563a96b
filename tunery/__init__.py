"""The command people type. Thin: it reads files, calls jobs and tuning, and prints."""
