"""Programs that only type checkers read: each suppressed error must really be one."""
