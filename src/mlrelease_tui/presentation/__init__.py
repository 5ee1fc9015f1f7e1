"""Domain values as characters: lines of spans with a role each, never markup. Pure; knows no widget and no theme.

lines    spans, fitting to a width in terminal cells · glyphs   words and symbols of states, bars, sparklines
times    ages and clocks · table   columns and rows · labels   headings, names with values
header, fleet, endpoint, rollouts, plan …   what each place shows
"""
