"""ssh into a machine or one of its containers, for operators: the host's end speaks SSH, the machine its own contract.

    ssh ── ProxyCommand ── pilot ssh ── dial.sock ── GET /v1/exec (WebSocket) ── the machine's agent

Off unless somebody configures it: without a certificate authority to believe there is no way in
(docs/decisions/ssh-ends-on-the-host.md).
"""
