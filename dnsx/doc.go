// Package dnsx is about names: asking for them, finding out, answering for
// them, and where mail for them goes.
//
// Start with a [Resolver]. A [Stub] asks the server that the system would ask, an
// [Iterative] finds out itself, from the root down, and a [Cache] before either
// remembers:
//
//	roots, err := dnsx.ParseHints(file)
//	resolver := &dnsx.Cache{Resolver: &dnsx.Iterative{Roots: roots}}
//	answer, err := resolver.Resolve(ctx, "www.example.com.", dnsx.AAAA)
//	route, err := dnsx.MailHosts(ctx, resolver, "example.com")
//
// [Server] gives answers, from its zones or a resolver's. [LookupAddr] goes from
// an address back to a name, a [Dialer] connects to one, [Whois] asks who holds
// it. [Client] and [Message] are the protocol itself. Package dnstest has an
// Internet of name servers to try it all on.
//
// # The idea
//
// The DNS is one table, from a name and a type to records, that nobody has. It is
// cut into zones: whoever runs one answers for its names, or refers to the
// servers of a zone below. So a resolver that knows nothing but the root's
// addresses finds any name in as many steps as it has zones, and what it
// remembers on the way saves the upper levels most of the work: it seldom comes
// back to the root.
//
// Every answer has a time to live. Until it ends nobody asks again, and nobody
// hears of a change.
//
// There are two ways not to get an answer, and they must not be mixed up. "There
// is no such name" is an answer: it is final, may be remembered, and mail bounces.
// Silence, refusal and nonsense are errors, [ErrTemporary]: nothing is known,
// and somebody must ask again later.
//
// # The picture
//
//	program      resolver                               server of
//	  | www.example.com?  |
//	  |------------------>|--- www.example.com? --->   .
//	  |  recursive:       |<-- com: ask 192.5.6.30 -   (a referral)
//	  |  "find out"       |--- www.example.com? --->   com
//	  |                   |<-- example.com: ask ... -
//	  |                   |--- www.example.com? --->   example.com
//	  |<------------------|<-- 192.0.2.10, for 1 h --  (authoritative)
//	  |    192.0.2.10     |
//	  |                   |     iterative: "what do you know?"
//	             remembers each for its TTL
//
// # Wire format
//
// A message is a header, then four lists; over TCP it has its length, two
// octets, before it. All numbers are big-endian.
//
//	 0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15
//	+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+
//	|                      ID                       |
//	|QR|  Opcode   |AA|TC|RD|RA| 0|AD|CD|   Rcode   |
//	|   questions, answers, authority, additional   |  four counts
//	+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+
//	question: name, type (2 octets), class (2)
//	record:   name, type (2), class (2), TTL (4), length (2), data
//
// A name is a row of labels, each after its length (1 to 63), and a zero. Where
// an octet has its two highest bits set, the other 14 say at which offset the
// rest was spelled before. The query of [NewQuery]("example.com.", [MX]):
//
//	1a2b 0100 0001 0000 0000 0001        ID, RD, one question, one additional
//	07 6578616d706c65 03 636f6d 00       7 "example" 3 "com" 0
//	000f 0001                            MX, IN
//	00 0029 04d0 00000000 0000           EDNS: I take 1,232 octets
//
// # Pitfalls
//
//   - Taking a failure for "no": TestIterativeFailures; TestMailRandom for mail.
//   - Believing the first datagram: TestForgeriesAreIgnored, TestGuessingEndsUDP.
//   - Believing what a server says about others: TestBailiwick.
//   - Following referrals wherever they lead: TestWorkIsBounded, TestLadder,
//     TestNestedSearches.
//   - Reading no more than 512 octets, or what is left of a message:
//     TestTruncatedGoesOverTCP, TestParseMessageRefuses.
//   - A pointer to itself in a name: TestParseMessageRefuses.
//   - Aliases to nothing, or without end: TestIterative, TestIterativeFailures.
//   - Forgetting that there is nothing: TestCacheNegative. Or for how long:
//     TestCacheKeepsNothingTooLong.
//   - A thousand callers, a thousand questions: TestCacheSingleFlight.
//   - Names compared by their last letters: TestInZone.
//   - Waiting for a broken IPv6 before trying IPv4: TestDial.
//   - A wildcard beside a name that is there without records: TestAsNSD.
//   - Answering from another address than was asked: TestWildcardSocket.
//
// # Limits and security
//
// A resolution by [Iterative] sends at most [Iterative.MaxQueries] queries and
// takes at most [Iterative.Timeout]; it follows 16 aliases, asks 16 addresses of
// a zone, searches those of four servers without glue, and nests such searches
// six deep. A [Cache] is bounded in entries and octets, what Iterative remembers
// is too. A [Server] bounds connections, waiting questions and their time.
//
// Responses over UDP are guarded as [Client] says. That leaves an attacker who
// does not see the traffic next to no chance, and one who sees it every chance:
// nothing here checks DNSSEC signatures; [Answer.Authenticated] is somebody
// else's word. [Client.TLS] protects the way to one server. Answers may lead
// anywhere, also to addresses of your own network.
//
// Iterative asks for the full name at each zone (no QNAME minimisation), asks
// servers one after the other, and looks for the IPv6 address of a server that
// came without glue only if it has no IPv4 address. TCP connections are not
// kept. A server does no DNSSEC, no dynamic update, no incremental transfer.
//
// # Exercises
//
//	go run ./examples run N1     a message, field by field
//	go run ./examples run N2     where mail goes
//	go run ./examples run N3     a name, and whether its port 80 answers
//	go run ./examples run N4     forward and back
//	go run ./examples run N5     whois
//	go run ./examples run N6     from the root, with a cache
//	go run ./examples run N7     a zone of one's own
//	go run ./examples run N8     poisoned caches
//	go run ./examples run N9     the tool for scripts
//	go run ./examples run S14    addresses in their order
//
// # References
//
//   - [RFC 1034] the concepts, [RFC 1035] the messages
//   - [RFC 2308] negative answers, [RFC 8767] stale ones
//   - [RFC 5452] against forged answers, [RFC 6891] EDNS(0)
//   - [RFC 4592] wildcards, [RFC 6672] DNAME
//   - [RFC 5321 section 5.1] mail routing, [RFC 7505] null MX
//   - [RFC 8305] Happy Eyeballs, [RFC 6724] order of addresses
//   - [RFC 3912] whois
//   - Afek, Bremler-Barr and Shafir, NXNSAttack, USENIX Security 2020
//
// # Reading path
//
// record.go, chain.go, iterate.go: what is asked and answered, what of a response
// is believed, and the walk from the root.
//
// [RFC 1034]: https://www.rfc-editor.org/rfc/rfc1034
// [RFC 1035]: https://www.rfc-editor.org/rfc/rfc1035
// [RFC 2308]: https://www.rfc-editor.org/rfc/rfc2308
// [RFC 8767]: https://www.rfc-editor.org/rfc/rfc8767
// [RFC 5452]: https://www.rfc-editor.org/rfc/rfc5452
// [RFC 6891]: https://www.rfc-editor.org/rfc/rfc6891
// [RFC 4592]: https://www.rfc-editor.org/rfc/rfc4592
// [RFC 6672]: https://www.rfc-editor.org/rfc/rfc6672
// [RFC 5321 section 5.1]: https://www.rfc-editor.org/rfc/rfc5321#section-5.1
// [RFC 7505]: https://www.rfc-editor.org/rfc/rfc7505
// [RFC 8305]: https://www.rfc-editor.org/rfc/rfc8305
// [RFC 6724]: https://www.rfc-editor.org/rfc/rfc6724
// [RFC 3912]: https://www.rfc-editor.org/rfc/rfc3912
package dnsx
