"""Apps of the Machines API on the web: a Host or an external port names the app, one of its Machines answers.

    <app>.<domain>          on pilotd's own listeners: the http service of the app
    <port>-<app>.<domain>   its service at that external port
    <address>:<port>        on listeners of each app's own (`listeners`), whatever the handlers of that port are

    directory (whose?) ─► places (which Machine? started, if need be) ─► pool ─► an internal port

Whoever is told of an app may reach it, as upstream: there is no sign-in here, and no token of this host is passed on.
"""
