"""The evidence: suites of learning curves, the paper's experiment on them, statistics and figures.

Read `task`, `suites`, `experiment`, `statistics`, `figures`, in this order; `rungwise bench` is the command.
"""
