"""What happens, posted to whoever asked for it: signed, in order, again and again until it is taken.

book         which ones there are: made, listed, enabled, deleted
delivering   store.events ── told of commits ──► one at a time per webhook ──► its place is moved on, in the store
names        what its receiver's name means, asked where nobody is held up by it
sending      one POST, to an address that `destinations` lets it go to
signature    by which a receiver knows that it is ours, and of now
"""
