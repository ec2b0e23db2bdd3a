"""Run workers with the defects and healthy setups of docs/incidents.md, part "Running workers".

apps      each case as data: settings of its apps, command lines, what is sent, killed or stopped
scenes    the Celery app of a process, its tasks, and the processes of a case
"""
