"""/.sprite/llm.txt: what an agent that finds itself in a sprite should know."""

LLM = """\
# You are in a sprite

A sprite is a Linux computer of its own: Debian, a disk that stays, root by `sudo` without a password. Nobody else is
in it. Break what you like: its owner can put the disk back to a checkpoint.

- What is on the disk stays. What is in memory stays while the sprite rests (it is frozen when nobody uses it), and is
  gone when it was stopped.
- A process that should always run is a service; one that nobody is connected to is frozen with the sprite:
      /.sprite/bin/sprite-env services create web --cmd python3 --args -m,http.server,8080 --http-port 8080
      /.sprite/bin/sprite-env services list | start NAME | stop NAME | restart NAME | logs NAME | delete NAME
      What they have said: /.sprite/logs/services/NAME.log
- Work that must not be frozen says so, for an hour at most at a time:
      /.sprite/bin/sprite-env tasks create build --expire 30m
      /.sprite/bin/sprite-env tasks list | delete NAME
- The sprite's URL leads to the service with an http port, else to what listens on port 8080.
- The network may be restricted: /.sprite/policy/network.json has the rules. A name that is refused is told REFUSED.
  What root may do, and how much memory there is: privileges.json and resources.json beside it.
- Before something dangerous: /.sprite/bin/sprite-env checkpoints create --comment "before the upgrade"
  The last five are to be read at /.sprite/checkpoints/vN, where the machine is a container.
- If its owner allows it, a sprite makes others: /.sprite/bin/sprite-env sprites create | list | delete NAME
- Other coding agents: /.sprite/bin/sprite-agents list | install NAME
- The same by HTTP without a token: the Unix socket /.sprite/api.sock
      curl --unix-socket /.sprite/api.sock http://sprite/v1/services
"""
