"""What the program remembers: an immutable state, the facts that change it, and who keeps them coming.

facts    what happened, in the past tense · state   the whole, and `reduce(state, fact)` · store   holds it and notifies
select   questions to a state: rows, freshness, what waits for a person · poller   asks the connectors, for ever
on_demand   what a page asks for while it is open: logs, details
judge    the fleet as judged, kept between looks · order    its rows in order, kept too · breath   long work in slices
cache    the last known state, for the first paint of the next start
"""
