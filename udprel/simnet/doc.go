// Package simnet is an unreliable network as a value: hosts, UDP sockets and
// streams in memory, joined by links that delay, lose, duplicate, reorder and
// limit what passes. Start with [Network.Host], then [Host.ListenPacket],
// [Host.Listen] and [Host.DialContext], which return what package net would.
//
// # The idea
//
// A protocol is tested by the network that fails it. Real networks fail when
// they like, so their tests take long and never fail twice in the same way.
// Here a link is a handful of numbers, chance comes from a seed, and time may be
// virtual: inside a testing/synctest bubble an hour of retransmissions takes
// milliseconds, and a second run is equal to the first, packet for packet.
//
// Every link has one direction and one generator of chance, made from the
// network's seed and its two addresses, so that traffic elsewhere never changes
// what happens on it. What goroutines do in the same instant is put in order of
// addresses before it meets a link, and no two packets arrive in the same
// nanosecond: the scheduler of Go has no say in the outcome.
//
// For programs rather than tests there is a [Relay], which does the same
// between real sockets, in real time.
//
// # The picture
//
//	program -- socket                              socket -- program
//	             |         Link from a to b           ^
//	             v                                    |
//	     +--------------+-------+------+-------+--------------+
//	  a -| Down?   MTU? | queue | loss | dupli-| delay jitter |-> b
//	     |              | +rate | dice | cate  |   reorder    |
//	     +--------------+-------+------+-------+--------------+
//	             ^                                    |
//	             +------ another Link from b to a <---+
//
// A [Model] is one such row of boxes: no clock, no goroutine, no input or
// output. [Network] and [Relay] run it on virtual and real time; a simulation
// of your own may run it on any other.
//
// # Wire format
//
// There is none: datagrams pass as they are. Against [Link.Rate], [Link.Queue]
// and [Link.MTU] counts the packet at the IP layer: the payload and 20 bytes of
// IPv4 or 40 of IPv6 header and 8 of UDP or 20 of TCP header. A stream sends
// what TCP would: SYN, SYN ACK, ACK; segments of up to 1,500 bytes, each
// acknowledged at once; FIN or RST.
//
// A Link has a text form, for flags ([ParseLink], [Link.String]):
//
//	rate=20mbit,queue=100kb,delay=40ms,jitter=2ms,loss=2%,burst=8,
//	dup=1%,reorder=5%,reorderby=3ms,mtu=1400,down
//
// # Pitfalls
//
//   - Immediate is one nanosecond. Each packet takes that much more than its
//     link says, so synctest.Wait alone brings nothing over: let time pass
//     (TestImmediateIsANanosecond).
//   - Jitter keeps the order; only Reorder lets packets overtake
//     (TestJitterKeepsOrder).
//   - The link's MTU is a black hole, as on a path whose routers send no ICMP;
//     only the MTU of the host itself gives an error (TestMTU).
//   - A reader who is slow loses datagrams although the link delivered them
//     (TestBufferOverflow).
//   - Closing a stream with unread data resets it, and the peer may miss what
//     was written before (TestReset).
//   - A stream carries at most its window per round trip: 256 KiB, unless
//     [Conn.SetReadBuffer] and [Conn.SetWriteBuffer] say more (TestWindowLimits).
//   - Callbacks of [Trace] come from goroutines of the network's: share variables
//     with them by atomics, channels or a lock (TestImmediateIsANanosecond).
//   - What two goroutines of one host do in one instant on the same socket, and
//     which of two gets which free port, the scheduler decides. Runs are
//     identical where each socket has one writer and either its port is given
//     or only one goroutine opens sockets at a time (TestRunsAreIdentical).
//
// # Limits and security
//
// A directed link holds 256 MiB on the way, a socket 256 KiB to be read and a
// stream as much to be sent, a listener 128 streams to be accepted. All but the
// first are the bounds of a real system and drop or block as it does. Waits end
// with deadlines, contexts or [Network.UserTimeout].
//
// Streams have no congestion control. A stream waits while half of its link's
// queue is full, and streams take turns, so that they share a link evenly and
// lose nothing to a full queue. They do not compete as TCP does: to measure that,
// use a kernel. Retransmission time-outs follow RFC 6298, from 200 ms to 4 s.
//
// Not modelled: names, routers with more than two neighbours, fragments,
// multicast and broadcast, damaged bits (UDP's checksum makes losses of them),
// Nagle's algorithm, TIME-WAIT. A free port is the next in a row, not a random
// one (RFC 6056), because runs must repeat.
//
// A [Relay] bounds its flows, their idle time and the bytes on the way (64 MiB
// in each direction for UDP, 1.5 MB for a TCP connection); see [RelayConfig]. It
// does not authenticate anyone: keep it on loopback. Its timers are late by
// about a millisecond, and it cannot run inside a bubble, where real sockets
// stop the clock.
//
// # Exercises
//
//	go run ./examples run S2   # a server that drops on purpose
//	go run ./examples run S6   # words that arrive in any order
//	go run ./examples run W6   # round trips of HTTP over a slow link
//	go run ./examples run X1   # streaming over a changing rate
//	go run ./examples run Z1   # reliable UDP against TCP on one bad link
//
// # References
//
//   - [RFC 768], UDP; [RFC 9293], TCP; [RFC 6298], its time-outs; [RFC 2018],
//     acknowledging what came out of order; [RFC 5482], the user time-out
//   - [RFC 8899], path-MTU discovery where the network is silent
//   - E. N. Gilbert, Capacity of a Burst-Noise Channel, Bell System Technical
//     Journal 39 (1960)
//   - M. E. O'Neill, PCG: A Family of Simple Fast Space-Efficient Statistically
//     Good Algorithms for Random Number Generation (2014)
//
// # Reading path
//
// doc.go, link.go (the model), events.go (what happens when, and in which
// order), agenda.go (the heap of what is to come): under 800 lines together.
//
// [RFC 768]: https://www.rfc-editor.org/rfc/rfc768
// [RFC 9293]: https://www.rfc-editor.org/rfc/rfc9293
// [RFC 6298]: https://www.rfc-editor.org/rfc/rfc6298
// [RFC 2018]: https://www.rfc-editor.org/rfc/rfc2018
// [RFC 5482]: https://www.rfc-editor.org/rfc/rfc5482
// [RFC 8899]: https://www.rfc-editor.org/rfc/rfc8899
package simnet
