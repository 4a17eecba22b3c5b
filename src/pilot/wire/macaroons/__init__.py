"""Macaroons in the format that Fly.io publishes (superfly/macaroon): minted, attenuated, verified; byte for byte.

    packing      MessagePack as the format wants it
    macaroon     the token: nonce, location, caveats, tail; the chain of HMACs; verification with discharges
    third_party  caveats that somebody else discharges: tickets, their keys, discharge tokens
    caveats      what each number means, and what it prohibits
    access       what is asked for: action, resources, who asks from where
    header       `FlyV1 fm2_…,fm2_…` and its older spellings
    document     the JSON form, for people

Nothing here knows a store, a clock or a socket: time comes with the access, keys with the call.
"""
