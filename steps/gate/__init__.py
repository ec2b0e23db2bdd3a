"""Bind the sentences about the gate.

module      features/gate/, those it serves most first
commands    verdict, tuning_example, tls, surroundings, stacks, scripts, leftovers, compose, bad_input
verdicts    shared_data, refusals, disruption
"""
