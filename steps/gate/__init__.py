"""Bind the sentences about the gate and the suite itself.

module      features/gate/, those it serves most first
commands    tuning_example, tls, surroundings, stacks, scripts, leftovers, compose, bad_input
reports     page, results_for_tools, evidence, verdict, report, baseline
suite       strict_specification, fuzzing, editors, collection, baseline, verdict, report, evidence
verdicts    shared_data, refusals, disruption
"""
