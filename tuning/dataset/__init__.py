"""From links to tokens: fetch, read, understand, check, tokenise, report. See tuning/data.py."""
