"""The tasks: each file is all that a task is, and `registry` names them."""
