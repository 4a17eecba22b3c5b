"""Addresses of sprites on the web: a request's Host names the sprite, and what listens in it answers.

    client ─ relay (connection, requests) ─► Host ─┬► the Sprites API, where it names no sprite
                                                   └► ingress
    ingress   addresses ─► sites (whose?) ─► visitors (may they?) ─► awake? ─► pool ─► upstream ─ a port of the sprite

A sprite's programs are strangers to pilotd and to its clients: what they answer is read strictly, told as one answer,
and never sees a token or a cookie of ours.
"""
