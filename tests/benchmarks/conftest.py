"""Keep pytest away from the scripts of the start-up scenarios, which leave the process."""

collect_ignore = ["startup"]
