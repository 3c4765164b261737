"""The commands, one file for each thing that a user does.

``cmidd <name>`` and ``scripts/<name>.py`` read the words, and only then import the file, whose ``main`` does the work:
``main(settings, admission)`` on the settings of a run, ``main(chosen)`` of ``evaluate``, which has some beside, and
``main(config)`` on those of ``configs/command/<name>.yaml``. Its docstring is the command's help.
"""

COMMANDS = (
    "distill",
    "evaluate",
    "buffer",
    "teachers",
    "baselines",
    "table",
    "compare",
    "figures",
    "report",
    "export",
    "bench",
)
# These read the settings of a run, configs/distill.yaml, and evaluate some of its own beside, configs/evaluate.yaml;
# export takes two words, the others have a config of their own.
OF_A_RUN = ("distill", "evaluate", "buffer", "teachers", "baselines")
