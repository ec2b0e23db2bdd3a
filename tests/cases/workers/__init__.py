"""Run workers with the defects and healthy setups of docs/incidents.md, part "Running workers".

apps      the command that runs the case of a row; fixtures/gate/worker_cases.py has the cases
"""
