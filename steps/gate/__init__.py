"""Bind the sentences about the gate.

module      features/gate/, those it serves most first
commands    scripts, connecting, unreachable, bad_input, leftovers, environments, stacks, selection, tls, verdict.
verdicts    shared_data, refusals, disruption.
"""
