@audit
Feature: The commands of a cache's clients are answered as they expect
  A proxy that drops the flags of a command passes every test of SET and GET. So each command that the code of this
  practice sends is tried many times, and `tests/test_sent_commands.py` compares them with the server's own record. A
  defect of one command in 100 is found with a probability of 87 % by 200 trials and 63 % by 100 trials.

  @core
  Rule: Conditions are kept for all clients

    @cache-110
    Scenario: the cache writes and counts under a condition
      A lock is a SET with NX, a refresh is one with XX. A proxy that drops the flag makes every caller an owner.
      Remedy: connect without the proxy, or let it pass the flags of SET and INCRBYFLOAT unchanged.

      Given the cache under test
      When the cache serves 200 conditional writes
      Then exactly 0 replies were wrong

    @cache-111
    Scenario: the cache changes a ttl only under the condition of EXPIRE
      An extension must not shorten a ttl (GT), and a default must not replace one (NX). Redis 7.0 brought these flags.
      Remedy: connect without the proxy, or let it pass the flags of EXPIRE unchanged.

      Given the cache under test
      When the cache serves 200 conditional ttls
      Then exactly 0 replies were wrong

  @core
  Rule: A deleted key is gone, and several keys are read in order

    @cache-112
    Scenario: a key that the cache has deleted in any form is gone
      An invalidation is a DEL, an UNLINK, a GETDEL or a ttl of 0, as the client library chooses.
      Remedy: connect without the proxy, or let it pass UNLINK, GETDEL and EXPIRE unchanged.

      Given the cache under test
      When the cache serves 200 deletions in every form
      Then exactly 0 replies were wrong

    @cache-113
    Scenario: the cache returns several values and fields in the order that was asked for
      An absent value has a place in the reply, too. A proxy that spreads MGET over servers may mix up users' values.
      Remedy: connect without the proxy, or let it pass MGET and HMGET to one server.

      Given the cache under test
      When the cache serves 200 reads of several keys
      Then exactly 0 replies were wrong

    @cache-115
    Scenario: the cache runs scripts whole and by their digest
      Compare-and-set is a script on most engines: the lease of single flight, the versions of a write-through.
      Remedy: `ACL SETUSER <user> +@scripting`, or a proxy that passes EVAL and EVALSHA to one server.

      Given the cache under test
      When the cache serves 100 scripts
      Then exactly 0 replies were wrong

  Rule: The keys of an application can be found

    @cache-114
    Scenario: a SCAN of the whole cache returns every key that stays there
      An invalidation by pattern and an audit of keys rely on SCAN, which a proxy may send to one of several servers.
      Remedy: connect without the proxy, or give its SCAN one server for all calls.

      Given the cache under test
      When the cache serves 300 keys to find by SCAN
      Then exactly 0 keys were missed
