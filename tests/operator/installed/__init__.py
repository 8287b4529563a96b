"""Tests of Tunery as it is installed: one installation for the package, gone after it.

A package, so that its fixtures end with it: the tests beside it run operators of their own.
"""
