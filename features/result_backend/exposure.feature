@audit
Feature: The result backend is reached only with a password, over TLS, by a user with few rights
  A server that answers strangers is found within hours by programs that search for such servers. Where other machines
  reach the address, each scenario of the first rule is a core promise. On a loopback address, which other machines do
  not reach, it is advice: a skip with the seen fault.

  @core
  Rule: Other machines reach the result backend only with a password, as a user with few rights, and over TLS

    @results-040
    Scenario: the result backend serves no client without a password
      A server without a password obeys every program that reaches its port. Protected mode refuses only other machines;
      container images turn it off.
      Remedy: `CONFIG SET requirepass <password>`, and the password in the URL; until then
      `CONFIG SET protected-mode yes`.

      Given the backend under test
      Then there are no unprotected servers

    @results-041
    Scenario: the application is no administrator of the result backend
      The default user has all rights. A stolen password of the application then changes settings and loads code.
      Remedy: `ACL SETUSER <user> on ><password> ~* &* +@all -@dangerous -@admin`, and this user in the URL.

      Given the backend under test
      Then there are no connections of administrators

    @results-042
    Scenario: traffic to the result backend is encrypted
      Passwords and results in plain text can be read and changed by each machine on the way.
      Remedy: tls-port, tls-cert-file, tls-key-file and tls-ca-cert-file in redis.conf, and rediss:// in the URL.

      Given the backend under test
      Then there are no connections in plain text

    @results-043
    Scenario: the result backend accepts no weak encryption
      TLS before 1.2 is broken. Without forward secrecy a stolen key opens all traffic that was ever recorded.
      Remedy: `CONFIG SET tls-protocols "TLSv1.2 TLSv1.3"`, and `CONFIG SET tls-ciphers "ECDHE+AESGCM:ECDHE+CHACHA20"`;
      at a proxy, its own settings. The URL has no ssl_cert_reqs=none.

      Given the backend under test
      Then there are no weak encryptions

    @results-044
    Scenario: the certificate of the result backend is valid for the next 30 days
      After its end no client connects, on all nodes at the same second.
      Remedy: renew the certificate, and load it without a restart: `CONFIG SET tls-cert-file <file>`.

      Given the backend under test
      Then there are no certificates that end soon

  Rule: The application's user can neither empty nor stop the result backend

    @results-045
    Scenario: the application's user may not run dangerous commands
      Remedy: `ACL SETUSER <user> -flushall -config|set -shutdown -debug -keys`.

      Given the backend under test
      Then the user may not run these commands
        | COMMAND                | DANGER                                         |
        | FLUSHALL               | a typing error deletes every result              |
        | CONFIG SET maxmemory 1 | the memory limit and the policy can be changed |
        | SHUTDOWN               | the server can be stopped                      |
        | DEBUG SLEEP 1          | the server can be blocked                      |
        | KEYS *                 | the server blocks while it reads every key     |
