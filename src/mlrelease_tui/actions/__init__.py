"""From a wish to an outcome: the plan, its one execution, and the truth about it.

situation  what was read for a plan · planner  intent + situation → plan | refusal (pure)
executor   last look, durable intent, each step once, verify, outcome · journal  the audit in the words of an action
reconcile  what a dead process left open · desk  the operator's desk: prepare, submit, arm
"""
