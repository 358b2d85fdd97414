// Package udprel makes UDP reliable: connections that carry a stream of bytes
// and messages, on paths where TCP stalls. Start with [Dial] and [Listen], which
// return what package net would.
//
//	l, err := udprel.Listen("udp", ":1060", nil)
//	c, err := udprel.Dial(ctx, "udp", "localhost:1060", nil)
//	c.Write(data)                                  // a net.Conn
//	c.Send(ctx, msg, udprel.Delivery{Lane: 1})     // and messages beside it
//
// # The idea
//
// UDP loses, repeats and reorders datagrams. To mend that, number them, and let
// the receiver say which have come: the newest number, and a bit for each of the
// 32 before it. Every packet says it again, so no single acknowledgement
// matters. What is missing is sent again in a new packet, with a new number.
//
// The hard part is how fast to send. TCP slows down at every loss, since in wires
// a loss means that a queue has overflowed; over radio it means nothing, and
// TCP crawls. Here the sender measures instead: how fast do packets come
// out at the other end, and how long does a round trip take when nobody
// queues? It sends at that rate, and keeps the queue short ([NewModel]).
//
// # The picture
//
//	Write --> stream ---+                              +--> Read
//	Send ---> messages -+-> packet -> pace -> socket   +--> Receive
//	             ^              ^       ^        |     |
//	             | again        |       | rate   v     | frames
//	          +------+      +------+ +------+  =====   |
//	          | loss |<-----| ack  | |model |  network |
//	          +------+      +------+ +------+  =====   |
//	              ^____________|________^        |     |
//	                           |  what has come  v     |
//	                           +------------- packet --+
//
// All of it but the socket is a state machine without clock and goroutine; the
// tests run it on virtual time and let a fuzzer be the network.
//
// # Wire format
//
// Numbers are big-endian. A packet is a header of 25 bytes and a body:
//
//	 0  sequence, 32 bits    number of this packet; they wrap around
//	 4  ack, 32 bits         newest packet that has come
//	 8  bitfield, 32 bits    bit n: packet ack-1-n has come as well
//	12  version 1, type      four bits each
//	13  connection, 64 bits  chosen by the receiver of the packet
//	21  delay, 16 bits       since packet ack came, in units of 16 µs
//	23  oldest, 16 bits      before sequence-oldest, nothing is asked about
//
// The types: 1 hello and 3 welcome (a greeting, then frames), 2 cookie, 4 data
// (frames), 5 reset (a token). A greeting is a connection id, a token of 16
// bytes, and as varints the limits of stream and messages, and the length of a cookie,
// which follows. In varints, seven bits a byte, the lowest come first.
//
//	0 padding, to the end           5 message: channel (mode*256+lane), id,
//	1 ping: answer at once            size, offset, length, bytes
//	2 state: have, stream limit,    6 challenge: 8 bytes
//	    message limit, n, ranges    7 response: the same 8 bytes
//	3 stream: offset, length, bytes 8 close: 0 done, 1 aborted, 2 mistake
//	4 end: length of the stream
//
// A range of state is a gap down from the last number named, at first ack-32,
// and a length. Packet 0x107 brings "hola" at offset 300:
//
//	00000107 00000042 fffffffb 14 1122334455667788 003e 0005
//	03 ac02 04 686f6c61
//
// One packet of each type is in testdata/packets.txt (TestGolden).
//
// # Pitfalls
//
//   - The bitfield knows 33 packets, a round trip may have 170. Without ranges,
//     lost acknowledgements become lost data (TestLostAcks).
//   - Numbers wrap around: compare differences (TestExpand, TestWrap).
//   - Overtaken is not lost: who repairs at once on a path that reorders sends
//     much twice (TestSpuriousRepairs).
//   - One missing piece holds up the whole stream. Lanes do not hold up each
//     other (TestNoHeadOfLineBlocking).
//   - Write returns before the peer has the data; Close tells (TestCloseDelivers,
//     TestLinger).
//   - Being polite to those who fill queues means to starve (TestFairness).
//   - A server that remembers, or answers at length, whoever writes to it is a
//     weapon (TestSpoofedFlood).
//
// # Limits and security
//
// Nothing is encrypted or authenticated: put TLS on the stream (TestTLS). Who can
// read the packets can forge them. Who cannot does not know the connection's id
// of 64 random bits, and can neither end it nor write into it (TestForged).
// Strangers get at most three bytes for one and leave no trace until they have
// returned a cookie; replayed packets are dropped (TestReplay). At most
// [Config].Backlog connections wait to be accepted.
//
// A connection holds at most SendBuffer bytes each of stream and messages to be
// sent, and ReceiveBuffer and MessageBuffer received; a peer that sends
// more is cut off. Packets fit the path: at first 1,200 bytes, then what probes
// show to pass, at least 548. Only on Linux packets are kept from being
// fragmented, and many moved in one system call. A server follows a
// client to a new address when that has answered a challenge (TestMigration).
// Repeated messages cost bandwidth: see [Delivery].
//
// # Exercises
//
//	go run ./examples run Z1   # a file over reliable UDP and TCP, one bad link
//
// # References
//
//   - G. Fiedler, Networking for Game Programmers, 2008: the header, [NewGoodBad]
//   - [RFC 9000], QUIC: handshake, frames, migration; [RFC 9002], its loss recovery
//   - [RFC 6298], round-trip times; [RFC 8985], loss told by time
//   - [RFC 9438], CUBIC; [BBR], congestion control by a model
//   - [RFC 8899], the size of packets; [RFC 8085], how to behave over UDP
//
// # Reading path
//
// packet.go (what is on the wire), ack.go, loss.go and congestion.go (who learns
// what), build.go (what goes into the next packet). Then take the machine that
// holds them together, and the model when you wonder how fast.
//
// [RFC 9000]: https://www.rfc-editor.org/rfc/rfc9000
// [RFC 9002]: https://www.rfc-editor.org/rfc/rfc9002
// [RFC 6298]: https://www.rfc-editor.org/rfc/rfc6298
// [RFC 8985]: https://www.rfc-editor.org/rfc/rfc8985
// [RFC 9438]: https://www.rfc-editor.org/rfc/rfc9438
// [BBR]: https://datatracker.ietf.org/doc/draft-ietf-ccwg-bbr/
// [RFC 8899]: https://www.rfc-editor.org/rfc/rfc8899
// [RFC 8085]: https://www.rfc-editor.org/rfc/rfc8085
package udprel
