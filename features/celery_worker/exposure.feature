@audit
Feature: The broker is reached only with a password, over TLS, by a user with few rights
  A server that answers strangers is found within hours by programs that search for such servers. Where other machines
  reach the address, each scenario of the first rule is a core promise. On a loopback address, which other machines do
  not reach, it is advice: a skip with the seen fault.

  @core
  Rule: Other machines reach the broker only with a password, as a user with few rights, and over TLS

    @celery-160
    Scenario: the broker serves no client without a password
      A server without a password obeys every program that reaches its port. Protected mode refuses only other machines;
      container images turn it off.
      Remedy: `CONFIG SET requirepass <password>`, and the password in the URL; until then
      `CONFIG SET protected-mode yes`.

      Given the broker under test
      Then there are no unprotected servers

    @celery-161
    Scenario: the application is no administrator of the broker
      The default user has all rights. A stolen password of the application then changes settings and loads code.
      Remedy: `ACL SETUSER <user> on ><password> ~* &* +@all -@dangerous -@admin`, and this user in the URL.

      Given the broker under test
      Then there are no connections of administrators

    @celery-162
    Scenario: traffic to the broker is encrypted
      Passwords and tasks in plain text can be read and changed by each machine on the way.
      Remedy: tls-port, tls-cert-file, tls-key-file and tls-ca-cert-file in redis.conf, and rediss:// in the URL.

      Given the broker under test
      Then there are no connections in plain text

    @celery-163
    Scenario: the broker accepts no weak encryption
      TLS before 1.2 is broken. Without forward secrecy a stolen key opens all traffic that was ever recorded.
      Remedy: `CONFIG SET tls-protocols "TLSv1.2 TLSv1.3"`, and `CONFIG SET tls-ciphers "ECDHE+AESGCM:ECDHE+CHACHA20"`; at
      a proxy, its own settings. The URL has no ssl_cert_reqs=none.

      Given the broker under test
      Then there are no weak encryptions

    @celery-164
    Scenario: the certificate of the broker is valid for the next 30 days
      After its end no client connects, on all nodes at the same second.
      Remedy: renew the certificate, and load it without a restart: `CONFIG SET tls-cert-file <file>`.

      Given the broker under test
      Then there are no certificates that end soon

  Rule: The application's user can neither empty nor stop the broker

    @celery-165
    Scenario: the application's user may not run dangerous commands
      Remedy: `ACL SETUSER <user> -flushall -config|set -shutdown -debug -keys`.

      Given the broker under test
      Then the user may not run these commands
        | COMMAND                | DANGER                                         |
        | FLUSHALL               | a typing error deletes every task              |
        | CONFIG SET maxmemory 1 | the memory limit and the policy can be changed |
        | SHUTDOWN               | the server can be stopped                      |
        | DEBUG SLEEP 1          | the server can be blocked                      |
        | KEYS *                 | the server blocks while it reads every key     |
