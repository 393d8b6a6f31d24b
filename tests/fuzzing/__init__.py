# Copyright (c) The mmpointrend authors.
"""Fuzzing of everything that reads what strangers write: ``make fuzz``.

A *format* (``formats``) has seeds, a way to change them (``mutation``, ``containers``) and entry points of the product.
A *worker* (``workers``) is a process that hands changed seeds to these, is watched, and may die. Each input ends in an
*outcome* (``outcomes``): accepted, refused by a sentence of ours, or a finding. A *campaign* (``campaign``) counts them
over rounds, keeps what leads to new outcomes for further changes, and writes findings down so that they replay.
"""
