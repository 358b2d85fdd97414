// Package dnstest is a small Internet of name servers for tests and
// demonstrations, in the manner of net/http/httptest: a root, top-level domains,
// zones with hosts and mail, and servers that misbehave in all the ways that
// resolvers have to bear. Start with [Start]; give a resolver
// [Internet.RootHints], [Internet.Port] and [Internet.Dial], and ask.
//
//	in, err := dnstest.Start(dnstest.Config{}) // 127.53.x.y, a free port
//	in, err := dnstest.Start(dnstest.Config{Network: dnstest.On(nw.Host)})
//
// The second is for a *simnet.Network: 10.53.x.y, port 53, virtual time. Zones of
// one's own come by [Internet.SetZone], servers of one's own by [Internet.Listen] and
// [Internet.Add], faults by [Internet.SetFault].
//
// # The idea
//
// A resolver is tested by what it meets on its way: delegations with and
// without glue, aliases, negative answers, servers that are slow, lame or lie.
// The real Internet has them all, but not today and not twice. This one is
// always the same, answers within the machine, and its servers are told which
// fault to have.
//
// # The picture
//
//	. 0.1 0.2
//	|-- com, net 1.1 1.2
//	|   |-- example.com 10.1 10.2     a company; big.example.com truncates
//	|   |-- zocalo-labs.com 13.1 13.2 a start-up; www has four addresses
//	|   `-- example.net 2.2 2.3       no mail (null MX)
//	|-- org 1.3
//	|   `-- example.org 2.2 2.3       odd cases: aliases, loops, useless MX
//	|-- es 1.4
//	|   |-- unizocalo.es 14.1         a university
//	|   |   `-- cs.unizocalo.es 14.5  a department
//	|   `-- xn--espaa-rta.es 14.1     an IDNA name
//	|-- uk, co.uk 1.5                 co.uk is a public suffix
//	|   |-- alfa.co.uk 15.1
//	|   `-- beta.co.uk 15.1           its www is a host of alfa's
//	|-- test 1.6                      what goes wrong, see below
//	`-- arpa, in-addr.arpa, ip6.arpa 2.1
//	    `-- 53.127.in-addr.arpa, 3.5.0.0.8.b.d.0.1.0.0.2.ip6.arpa 2.2 2.3
//
// The numbers are the last two of each name server's address. Here are the
// zones below test, of one server each but for those called half:
//
//	silent 20.1     slow 20.2       lame 20.3     refusing 20.4
//	failing 20.5    garbage 20.6    truncating 20.7
//	forging 20.8    wrongid 20.9    (what these mean: [Silent] and so on)
//	halfsilent 20.1 and 21.1, halflame 20.3 and 21.1 (the second is good)
//	circle-a, circle-b: each has its server's name in the other
//	fanout: sixty name servers, none of which exists
//	deep, a.deep, a.a.deep, ...: forty zones, one below the other
//
// The files in the folder world hold every name. Each address of a host has a
// PTR record; those of www.unizocalo.es, www.alfa.co.uk, www.beta.co.uk and
// 127.53.15.12 lead to other names. IPv6 addresses, in 2001:db8:53::/48, belong
// to hosts alone: no server listens there.
//
// # Wire format
//
// That of the DNS: the servers are those of package dnsx. The
// zones are zone files [RFC 1035 section 5], in which 127.53. stands for the
// network where the servers are.
//
// # Pitfalls
//
//   - A server of the right address that has lost its zone is not silent: it
//     answers, and what it says has to be judged (TestFaults).
//   - The zone above keeps its own copy of NS records and addresses. SetZone
//     brings it up to date; a zone that has NS records for the lower one keeps
//     them (TestSetZone).
//   - Within a synctest bubble real sockets stop the clock: use [On]
//     (TestWorld).
//   - On macOS 127.0.0.1 is the only loopback address. All servers are there, at
//     ports that only [Internet.Dial] knows: a resolver that dials by itself, or
//     a program such as dig, does not find them (TestOneAddress).
//
// # Limits and security
//
// It listens on loopback only, or on no real network at all, and a program on
// the same machine can ask it. It is no example of a secured name server: zones
// are not signed, and faults are the point. Each server bounds its connections
// and waiting queries as [dnsx.Server] does.
//
// # Exercises
//
//	go run ./examples run N1   # ask, and read the answer octet by octet
//	go run ./examples run N2   # where mail for a domain goes
//	go run ./examples run N6   # a resolver finds its way from the root
//	go run ./examples run N7   # a zone of one's own in this Internet
//
// # References
//
//   - [RFC 1034], names, zones and delegation; [RFC 2606], names kept for
//     examples; [RFC 5737], addresses likewise
//   - Afek, Bremler-Barr and Shafir, NXNSAttack (USENIX Security 2020)
//
// # Reading path
//
// world/example.org.zone (what a zone can hold), faults.go (how servers lie),
// internet.go (how zones become servers).
//
// [RFC 1034]: https://www.rfc-editor.org/rfc/rfc1034
// [RFC 1035 section 5]: https://www.rfc-editor.org/rfc/rfc1035#section-5
// [RFC 2606]: https://www.rfc-editor.org/rfc/rfc2606
// [RFC 5737]: https://www.rfc-editor.org/rfc/rfc5737
package dnstest
