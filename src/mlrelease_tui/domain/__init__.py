"""The words of a release as frozen values and pure functions. Standard library only.

refs      names of things · text      text from outside, made safe · models    what a registry knows
rollout   endpoints, variants, rollouts · metrics   counts over time → rates, ratios, quantiles
plan      intent → change → write → plan · expectation   what an independent read must show
policy    who may do what, and how hard confirming is · verdict   what the judge says of a canary
"""
