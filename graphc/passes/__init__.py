"""Passes: plain functions from program to program, one file each.

The order in which a compile runs them stands once, in `pipeline`.
"""
